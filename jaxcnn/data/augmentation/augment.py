"""Augments images on the device: pure, jittable functions with one random key per example.

The result depends only on the example's key, that is on (seed, epoch, index, repeat), and not on
its place in the batch or its device. The order is: `auto_augment`, colour jitter, photometric
distortion, lighting, normalisation, padded crop, translation, flips, erasing. The order after
`auto_augment` follows fb.resnet.torch. `mixup` mixes two examples.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxcnn.config import spec
from jaxcnn.data.augmentation.auto_augment import AUTO_AUGMENTS, GREY, photometric_distortion
from jaxcnn.data.normalization import Statistics, preprocess
from jaxcnn.errors import UserError

ROOT = 1  # folded into the run's root key for all augmentation

# Constants folded into an example's key, one per use: enabling one does not change the others.
_JITTER, _LIGHTING, _CROP, _FLIP, _FLIP_DOWN, _TRANSLATE, _PHOTOMETRIC, _AUTO_AUGMENT, _ERASE = (
    range(9)
)

FILLS = ("mean", "noise")
ERASE_ASPECT = (0.3, 1 / 0.3)
TRIES = 10  # boxes drawn for erasing; the first one that fits is used

# Principal components of ImageNet's RGB pixels in [0, 1], as published in fb.resnet.torch: the
# variances along the components, by which AlexNet scales its noise, and the components as columns.
PCA_SCALE = (0.2175, 0.0188, 0.0045)
PCA_COMPONENTS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclasses.dataclass(frozen=True)
class AugmentConfig(spec.Section):
    """Part of the section `data`: random augmentations of training images, in this order."""

    auto_augment: str = spec.field(
        "none", "none | " + " | ".join(AUTO_AUGMENTS), spec.choice("none", *AUTO_AUGMENTS)
    )
    auto_augment_operations: int = spec.field(
        2, "randaugment only: operations per image", spec.whole(1, 100)
    )
    auto_augment_magnitude: float = spec.field(
        9.0, "randaugment only: strength; 10 is the strongest", spec.real(0, 30)
    )
    color_jitter: float = spec.field(
        0.0,
        "brightness, contrast, saturation: weights 1 ± this; 0.4 in fb.resnet.torch",
        spec.share,
    )
    photometric: float = spec.field(
        0.0, "brightness, contrast, saturation, hue; 1 in Inception's released code", spec.share
    )
    lighting: float = spec.field(
        0.0, "standard deviation of AlexNet's shift along the colour components; 0.1", spec.strength
    )
    pad: int = spec.field(
        0, "pixels added on each side before a random crop of the same size", spec.side_or_none
    )
    pad_mode: str = spec.field(
        "constant",
        "constant (zeros, the mean colour) | reflect",
        spec.choice("constant", "reflect"),
    )
    translate: float = spec.field(
        0.0, "largest shift, as a fraction of the side; the border is filled with zeros", spec.share
    )
    flip: bool = spec.field(False, "mirror left to right with probability 1/2", spec.flag)
    vertical_flip: bool = spec.field(False, "mirror top to bottom with probability 1/2", spec.flag)
    random_erasing: float = spec.field(0.0, "probability of random erasing", spec.share)
    random_erasing_area: tuple[float, float] = spec.field(
        (0.02, 0.4),
        "smallest and largest erased fraction of the image",
        spec.several(spec.real(0, 1, above=True), least=2, most=2),
    )
    random_erasing_fill: str = spec.field(
        "noise", "noise (N(0, 1) after normalisation) | mean (zeros)", spec.choice(*FILLS)
    )


def example_keys(
    key: jax.Array, epoch: jax.Array, index: jax.Array, repeat: int | jax.Array = 0
) -> jax.Array:
    """Returns one typed key per example, [b].

    Args:
      key: typed root key of the run's augmentation.
      epoch: int [b].
      index: int [b], index in the split.
      repeat: int [b] or one for all; distinguishes views of one example in one epoch.
    """

    def one(epoch: jax.Array, index: jax.Array, repeat: jax.Array) -> jax.Array:
        fold_in = jax.random.fold_in
        return fold_in(fold_in(fold_in(key, epoch), index), repeat)

    return jax.vmap(one)(epoch, index, jnp.broadcast_to(repeat, index.shape))


def normalize(
    images: jax.Array,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    statistics: Statistics | None = None,
) -> jax.Array:
    """Returns images normalised as in evaluation, float32: (images / 255 - mean) / std.

    Args:
      images: uint8 [b, H, W, C].
      mean: one number per channel, or a single one, for pixels in [0, 1].
      std: one number per channel, or a single one.
      statistics: statistics of the training split; see `normalization`.

    Raises:
      UserError: if mean or std has neither 1 nor C numbers, or statistics have another shape.
    """
    return jax.vmap(lambda image: preprocess(image, mean, std, statistics))(_unit(images))


def augment(
    images: jax.Array,
    keys: jax.Array,
    config: AugmentConfig,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    statistics: Statistics | None = None,
) -> jax.Array:
    """Returns augmented, normalised images, float32 [b, H, W, C].

    Args:
      images: uint8 [b, H, W, C].
      keys: typed keys [b] from `example_keys`.
      config: the augmentations.
      mean: see `normalize`.
      std: see `normalize`.
      statistics: see `normalize`.

    Raises:
      UserError: if colours change without three channels, a reflection is wider than the image, or
        mean, std or statistics do not fit the images.
    """
    _, height, width, channels = images.shape
    _check_fits(config, height, width, channels)
    of = jax.random.fold_in

    def coloured(image: jax.Array, key: jax.Array) -> jax.Array:
        if config.auto_augment != "none":
            operations, magnitude = config.auto_augment_operations, config.auto_augment_magnitude
            image = AUTO_AUGMENTS[config.auto_augment](
                image, of(key, _AUTO_AUGMENT), operations, magnitude
            )
        if config.color_jitter:
            image = _jitter(image, of(key, _JITTER), config.color_jitter)
        if config.photometric:
            image = photometric_distortion(image, of(key, _PHOTOMETRIC), config.photometric)
        return image

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        if config.lighting:
            image = pca_lighting(image, of(key, _LIGHTING), config.lighting)
        image = preprocess(image, mean, std, statistics)
        if config.pad:
            image = _shift(image, of(key, _CROP), (config.pad, config.pad), config.pad_mode)
        if config.translate:
            most = int(config.translate * height), int(config.translate * width)
            image = _shift(image, of(key, _TRANSLATE), most, "constant")
        if config.flip:
            image = jnp.where(jax.random.bernoulli(of(key, _FLIP)), image[:, ::-1], image)
        if config.vertical_flip:
            image = jnp.where(jax.random.bernoulli(of(key, _FLIP_DOWN)), image[::-1], image)
        if config.random_erasing:
            image = _erase(image, of(key, _ERASE), config)
        return image

    by_branches = config.auto_augment != "none" or config.photometric
    colour = _one_by_one if by_branches else jax.vmap
    return jax.vmap(one)(colour(coloured)(_unit(images), keys), keys)


def _check_fits(config: AugmentConfig, height: int, width: int, channels: int) -> None:
    for field in ("color_jitter", "photometric", "lighting"):
        if getattr(config, field) and channels != 3:
            raise UserError(
                f"{field} needs RGB images and these have {channels} channel(s): set it to 0"
            )
    if config.pad_mode == "reflect" and config.pad >= min(height, width):
        raise UserError(
            f"pad={config.pad} must be smaller than the {height}x{width} image to reflect it"
        )
    if config.random_erasing_area[0] > config.random_erasing_area[1]:
        raise UserError(
            f"random_erasing_area={tuple(config.random_erasing_area)} must increase and lie"
            " between 0 and 1"
        )


def _one_by_one(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Maps a function with branches over rows; on a CPU only the selected branch is computed.

    `vmap` computes all branches of a `switch` for all rows. On a CPU this takes ten times as long.
    On an accelerator it costs little beside a network, and rows one by one would be slow.
    """

    def mapped(*rows: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(
            *rows,
            cpu=lambda *rows: jax.lax.map(lambda row: function(*row), rows),
            default=jax.vmap(function),
        )

    return mapped


def _f32(values: Sequence) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def _unit(images: jax.Array) -> jax.Array:
    return jnp.asarray(images).astype(jnp.float32) / 255


def _shift(image: jax.Array, key: jax.Array, most: tuple[int, int], mode: str) -> jax.Array:
    """Shifts an image vertically and horizontally by up to `most` pixels."""
    around = tuple((side, side) for side in (*most, 0))
    ends = 2 * jnp.asarray(most) + 1
    down, across = jax.random.randint(key, (2,), 0, ends)
    return jax.lax.dynamic_slice(jnp.pad(image, around, mode=mode), (down, across, 0), image.shape)


def box_mask(
    shape: tuple[int, ...], top: jax.Array, left: jax.Array, bottom: jax.Array, right: jax.Array
) -> jax.Array:
    """Returns booleans [H, W, 1], true inside a box; bottom and right are exclusive."""
    down = jnp.arange(shape[0])[:, None, None]
    across = jnp.arange(shape[1])[None, :, None]
    return ((down >= top) & (down < bottom)) & ((across >= left) & (across < right))


def _erase(image: jax.Array, key: jax.Array, config: AugmentConfig) -> jax.Array:
    """Erases a box; does nothing if none of ten boxes fits.

    Zhong et al., "Random Erasing Data Augmentation", 2017. The aspect ratio is between 0.3 and
    1/0.3, log-uniform as in other libraries. The noise is N(0, 1) in normalised values, while the
    paper draws pixels from U(0, 255).
    """
    height, width, _ = image.shape
    chance, sizes, aspects, place, noise = jax.random.split(key, 5)
    low, high = config.random_erasing_area
    area = height * width * jax.random.uniform(sizes, (TRIES,), minval=low, maxval=high)
    low, high = (math.log(ratio) for ratio in ERASE_ASPECT)
    aspect = jnp.exp(jax.random.uniform(aspects, (TRIES,), minval=low, maxval=high))
    h, w = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (h <= height) & (w <= width)
    first = jnp.argmax(fits)
    h, w = (side[first].astype(jnp.int32) for side in (h, w))
    down, across = jax.random.uniform(place, (2,))
    top, left = (down * (height - h + 1)).astype(int), (across * (width - w + 1)).astype(int)
    erased = fits[first] & jax.random.bernoulli(chance, config.random_erasing)
    noisy = config.random_erasing_fill == "noise"
    value = jax.random.normal(noise, image.shape) if noisy else jnp.zeros_like(image)
    return jnp.where(erased & box_mask(image.shape, top, left, top + h, left + w), value, image)


def _jitter(image: jax.Array, key: jax.Array, amount: float) -> jax.Array:
    """Blends [H, W, 3] with black, with its mean grey and with its grey image.

    The original shuffles the three blends. They commute, because the grey of a blend is the blend
    of the greys and nothing is clipped, so we apply them at once.
    """
    low, high = 1 - amount, 1 + amount
    brightness, contrast, saturation = jax.random.uniform(key, (3,), minval=low, maxval=high)
    grey = (image * _f32(GREY).reshape(1, 1, 3)).sum(axis=-1, keepdims=True)
    mean = grey.mean()
    return brightness * (mean + contrast * (grey - mean + saturation * (image - grey)))


def pca_lighting(image: jax.Array, key: jax.Array, std: float) -> jax.Array:
    """Shifts an image along the principal components of ImageNet's colours (AlexNet).

    All pixels move along each component by its variance times a draw from N(0, std²).

    Args:
      image: (H, W, 3), RGB in [0, 1]; the result may exceed this range.
      key: a typed key.
      std: 0.1 in the paper.
    """
    alpha = std * jax.random.normal(key, (3,))
    shift = _f32(PCA_COMPONENTS) @ (alpha * _f32(PCA_SCALE))
    return image + shift.reshape(1, 1, 3)
