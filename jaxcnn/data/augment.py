"""Augmentation on the device: pure, jittable, one random key per example.

What happens to an example depends on its key alone, hence on (seed, epoch, index, repeat), not on
its place in the batch or on the device that holds it. The order is that of fb.resnet.torch:
colour jitter, lighting, normalisation, padded crop, flip.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError

# What each use of an example's key is folded with: switching one on leaves the others as they are.
_JITTER, _LIGHTING, _CROP, _FLIP = range(4)

GREY = (0.299, 0.587, 0.114)  # luma weights of R, G, B

# Principal components of ImageNet's RGB pixels in [0, 1], as published in fb.resnet.torch: standard
# deviations along the components, and the components as columns.
PCA_SCALE = (0.2175, 0.0188, 0.0045)
PCA_COMPONENTS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def example_keys(
    key: jax.Array, epoch: jax.Array, index: jax.Array, repeat: int | jax.Array = 0
) -> jax.Array:
    """Returns one typed key per example, [b].

    Args:
      key: a typed key, the root of the run's augmentation.
      epoch: int [b].
      index: int [b], the position in the split.
      repeat: tells apart several views of one example in one epoch.
    """

    def one(epoch: jax.Array, index: jax.Array) -> jax.Array:
        fold_in = jax.random.fold_in
        return fold_in(fold_in(fold_in(key, epoch), index), repeat)

    return jax.vmap(one)(epoch, index)


def normalize(images: jax.Array, *, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Returns (images / 255 - mean) / std, float32.

    Args:
      images: uint8 [b, H, W, C].
      mean: one number per channel, or a single one, for pixels in [0, 1].
      std: likewise.

    Raises:
      UserError: mean or std has neither 1 nor C numbers.
    """
    return _standardize(_unit(images), mean, std)


def augment(
    images: jax.Array,
    keys: jax.Array,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    flip: bool = False,
    pad: int = 0,
    pad_mode: str = "constant",
    color_jitter: float = 0.0,
    lighting: float = 0.0,
) -> jax.Array:
    """Returns randomly changed, normalised images, float32 [b, H, W, C].

    Args:
      images: uint8 [b, H, W, C].
      keys: typed keys [b], from `example_keys`.
      mean: one number per channel, or a single one, for pixels in [0, 1].
      std: likewise.
      flip: mirror left to right with probability 1/2.
      pad: pixels added on every side before a random H×W crop.
      pad_mode: "constant" pads the normalised image with zeros, which is the mean colour;
        "reflect" mirrors it without repeating the edge.
      color_jitter: brightness, contrast and saturation each get a weight from
        U(1 - color_jitter, 1 + color_jitter) of the image against black, its mean grey and its
        grey self; fb.resnet has 0.4. RGB only. Values may leave [0, 1], as they do there.
      lighting: standard deviation of AlexNet's shift along the principal components of colour;
        0.1 in the paper. RGB only.

    Raises:
      UserError: a colour change without three channels, an unknown pad_mode, a reflection wider
        than the image, a negative amount, or mean or std of a wrong length.
    """
    _, height, width, channels = images.shape
    for field, amount in [("pad", pad), ("color_jitter", color_jitter), ("lighting", lighting)]:
        if amount < 0:
            raise UserError(f"{field}={amount} must not be negative")
    if (color_jitter or lighting) and channels != 3:
        field = "color_jitter" if color_jitter else "lighting"
        raise UserError(
            f"{field} needs RGB images and these have {channels} channel(s): set it to 0"
        )
    if pad_mode not in ("constant", "reflect"):
        raise UserError(f"pad_mode={pad_mode!r} does not exist: choose constant or reflect")
    if pad_mode == "reflect" and pad >= min(height, width):
        raise UserError(f"pad={pad} must be smaller than the {height}x{width} image to reflect it")

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        if color_jitter:
            image = _jitter(image, jax.random.fold_in(key, _JITTER), color_jitter)
        if lighting:
            image = pca_lighting(image, jax.random.fold_in(key, _LIGHTING), lighting)
        image = _standardize(image, mean, std)
        if pad:
            image = _shift(image, jax.random.fold_in(key, _CROP), pad, pad_mode)
        if flip:
            mirrored = jax.random.bernoulli(jax.random.fold_in(key, _FLIP))
            image = jnp.where(mirrored, image[:, ::-1], image)
        return image

    return jax.vmap(one)(_unit(images), keys)


def _f32(values: Sequence) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def _unit(images: jax.Array) -> jax.Array:
    return jnp.asarray(images).astype(jnp.float32) / 255


def _standardize(image: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    channels = image.shape[-1]
    for field, values in [("mean", mean), ("std", std)]:
        if len(values) not in (1, channels):
            raise UserError(
                f"{field} has {len(values)} numbers for images of {channels} channel(s): give one"
                " per channel or a single one"
            )
    last = (1,) * (image.ndim - 1) + (-1,)
    return (image - _f32(mean).reshape(last)) / _f32(std).reshape(last)


def _shift(image: jax.Array, key: jax.Array, pad: int, mode: str) -> jax.Array:
    around = ((pad, pad), (pad, pad), (0, 0))
    down, across = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(jnp.pad(image, around, mode=mode), (down, across, 0), image.shape)


def _jitter(image: jax.Array, key: jax.Array, amount: float) -> jax.Array:
    """Blends [H, W, 3] with black, with its mean grey and with its grey self.

    The original draws the order of the three. They commute, since the grey of a blend is the
    blend of the greys and nothing is clipped, so they are done at once.
    """
    low, high = 1 - amount, 1 + amount
    brightness, contrast, saturation = jax.random.uniform(key, (3,), minval=low, maxval=high)
    grey = (image * _f32(GREY).reshape(1, 1, 3)).sum(axis=-1, keepdims=True)
    mean = grey.mean()
    return brightness * (mean + contrast * (grey - mean + saturation * (image - grey)))


def pca_lighting(image: jax.Array, key: jax.Array, std: float) -> jax.Array:
    """Shifts an image along the principal components of ImageNet's colours, AlexNet's.

    Each component moves all pixels by its deviation times a draw from N(0, std²).

    Args:
      image: (H, W, 3), RGB in [0, 1]; values may leave it.
      key: a typed key.
      std: 0.1 in the paper.
    """
    alpha = std * jax.random.normal(key, (3,))
    shift = _f32(PCA_COMPONENTS) @ (alpha * _f32(PCA_SCALE))
    return image + shift.reshape(1, 1, 3)
