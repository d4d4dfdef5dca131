"""RandAugment, TrivialAugment and photometric distortion.

All are functions of one image, float32 [H, W, C] in [0, 1], and a typed key. RandAugment: Cubuk,
Zoph, Shlens and Le, 2020, arXiv 1909.13719; TrivialAugment: Müller and Hutter, 2021, arXiv
2103.10158. Both draw uniformly from AutoAugment's 14 operations; the colour operations equal
Pillow's up to rounding to bytes. Our choices: warps rotate, shear and move about the centre of the
image, take the nearest pixel, and fill with grey; one channel is a grey image.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

GREY = (0.299, 0.587, 0.114)  # luma weights of R, G, B
FILL = 0.5

WARPS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOURS = (
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
OPERATIONS = ("identity", *WARPS, *COLOURS)


class Ranges(NamedTuple):
    """Largest strength of each operation.

    Attributes:
      shear: horizontal pixels per vertical pixel.
      translate: (share of the side, additional pixels).
      rotate: degrees.
      enhance: largest difference from 1 of the factor of brightness, color, contrast and sharpness.
      bits: number of bits that posterize removes.
    """

    shear: float
    translate: tuple[float, float]
    rotate: float
    enhance: float
    bits: int


AUTOAUGMENT = Ranges(0.3, (150 / 331, 0.0), 30.0, 0.9, 4)
WIDE = Ranges(0.99, (0.0, 32.0), 135.0, 0.99, 6)


def randaugment(
    image: jax.Array, key: jax.Array, operations: int = 2, magnitude: float = 9.0
) -> jax.Array:
    """Applies randomly drawn operations, all with the same strength.

    Args:
      image: float32 [H, W, C] in [0, 1].
      key: a typed key.
      operations: N, number of successive operations.
      magnitude: M; 10 is the end of AutoAugment's ranges, in a random direction.
    """
    for number in range(operations):
        which, side = jax.random.split(jax.random.fold_in(key, number))
        chosen = jax.random.randint(which, (), 0, len(OPERATIONS))
        sign = jax.random.rademacher(side, (), jnp.float32)
        image = operate(image, chosen, jnp.float32(magnitude / 10), sign, AUTOAUGMENT)
    return image


def trivialaugment(
    image: jax.Array, key: jax.Array, operations: int = 1, magnitude: float = 0.0
) -> jax.Array:
    """Applies one operation with one of 31 random strengths, in the paper's wide ranges.

    Args:
      image: float32 [H, W, C] in [0, 1].
      key: a typed key.
      operations: unused.
      magnitude: unused.
    """
    del operations, magnitude
    which, side, strength = jax.random.split(key, 3)
    chosen = jax.random.randint(which, (), 0, len(OPERATIONS))
    level = jax.random.randint(strength, (), 0, 31) / 30
    return operate(image, chosen, level, jax.random.rademacher(side, (), jnp.float32), WIDE)


AUTO_AUGMENTS: dict[str, Callable[[jax.Array, jax.Array, int, float], jax.Array]] = {
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
}


def operate(
    image: jax.Array, chosen: jax.Array, level: jax.Array, sign: jax.Array, ranges: Ranges
) -> jax.Array:
    """Applies one of `OPERATIONS`.

    Args:
      image: float32 [H, W, C] in [0, 1].
      chosen: int, index of the operation.
      level: strength; 1 is the end of the operation's range.
      sign: 1 or -1, for operations with two directions.
      ranges: ends of the ranges.
    """
    warp = jnp.where(chosen <= len(WARPS), chosen, 0)
    image = _warp(image, *_matrix(warp, sign * level, image.shape, ranges))
    factor = 1 + sign * ranges.enhance * level
    taken = jnp.round(ranges.bits * level).astype(jnp.int32)
    changes: list[Callable[[jax.Array], jax.Array]] = [
        lambda x: x,
        lambda x: _blend(x, jnp.zeros_like(x), factor),
        lambda x: _blend(x, _grey(x), factor),
        lambda x: _blend(x, _grey(x).mean(), factor),
        lambda x: _blend(x, _smooth(x), factor),
        lambda x: ((_bytes(x) >> taken) << taken) / jnp.float32(255),
        lambda x: jnp.where(x * 255 >= 256 * (1 - level), 1 - x, x),
        _autocontrast,
        _equalize,
    ]
    return jax.lax.switch(jnp.maximum(chosen - len(WARPS), 0), changes, image)


def _matrix(
    warp: jax.Array, amount: jax.Array, shape: Sequence[int], ranges: Ranges
) -> tuple[jax.Array, jax.Array]:
    """Returns the map from result to source pixels: matrix (2, 2) and shift, of (y, x)."""
    eye, still = jnp.eye(2), jnp.zeros(2)
    share, pixels = ranges.translate
    angle = amount * math.radians(ranges.rotate)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    turn = jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])])
    along_x, along_y = jnp.array([[0.0, 0], [1, 0]]), jnp.array([[0.0, 1], [0, 0]])
    height, width = shape[0] * share + pixels, shape[1] * share + pixels
    cases = [
        (eye, still),
        (eye + amount * ranges.shear * along_x, still),
        (eye + amount * ranges.shear * along_y, still),
        (eye, jnp.stack([jnp.zeros(()), amount * width])),
        (eye, jnp.stack([amount * height, jnp.zeros(())])),
        (turn, still),
    ]
    matrices, shifts = (jnp.stack(parts) for parts in zip(*cases, strict=True))
    return matrices[warp], shifts[warp]


def _warp(image: jax.Array, matrix: jax.Array, shift: jax.Array) -> jax.Array:
    height, width, _ = image.shape
    middle = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    from_middle = jnp.stack(grid, axis=-1) - middle[None, None]
    source = jnp.einsum("ij,hwj->hwi", matrix, from_middle, precision="highest")
    y, x = jnp.moveaxis(jnp.round(source + (middle + shift)[None, None]).astype(int), -1, 0)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return jnp.where(inside[..., None], image[y, x], FILL)  # indices outside are clipped


def _blend(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    return jnp.clip(other + factor * (image - other), 0, 1)


def _grey(image: jax.Array) -> jax.Array:
    """Returns the luma, [H, W, 1]; the mean if there are not three channels."""
    if image.shape[-1] != 3:
        return image.mean(axis=-1, keepdims=True)
    weights = jnp.asarray(GREY, jnp.float32).reshape(1, 1, 3)
    return (image * weights).sum(axis=-1, keepdims=True)


def _smooth(image: jax.Array) -> jax.Array:
    """Applies Pillow's SMOOTH: centre 5, neighbours 1, divided by 13; keeps the border."""
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image
    inner = 4 * image[1:-1, 1:-1]
    for down in range(3):
        for across in range(3):
            inner += image[down : height - 2 + down, across : width - 2 + across]
    return image.at[1:-1, 1:-1].set(inner / 13)


def _bytes(image: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(image * 255), 0, 255).astype(jnp.int32)


def _autocontrast(image: jax.Array) -> jax.Array:
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    return jnp.where(high > low, (image - low) / jnp.where(high > low, high - low, 1), image)


def _equalize(image: jax.Array) -> jax.Array:
    """Equalises each channel's histogram, in Pillow's integer arithmetic."""

    def one(values: jax.Array) -> jax.Array:
        counts = jnp.zeros(256, jnp.int32).at[values].add(1)
        step = (values.size - counts[values.max()]) // 255
        before = jnp.cumsum(counts) - counts
        table = jnp.minimum((step // 2 + before) // jnp.maximum(step, 1), 255)
        return jnp.where(step > 0, table[values], values)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(_bytes(image)) / jnp.float32(255)


def photometric_distortion(image: jax.Array, key: jax.Array, strength: float = 1.0) -> jax.Array:
    """Changes brightness, contrast, saturation and hue in random order.

    The idea is Howard's ("Some Improvements on Deep Convolutional Neural Network Based Image
    Classification", 2013), cited by GoogLeNet's paper. The amounts are those of the released
    Inception code: brightness ±32/255, contrast (about each channel's mean) and saturation (against
    grey) by U(0.5, 1.5), hue ±0.2 of a turn. The result is clipped to [0, 1].

    Args:
      image: float32 [H, W, 3] in [0, 1].
      key: a typed key.
      strength: factor for the amounts.
    """
    order, amounts = jax.random.split(key)
    order = jax.random.permutation(order, 4)
    bright, contrast, saturation, hue = strength * jax.random.uniform(amounts, (4,), minval=-1)
    changes: list[Callable[[jax.Array], jax.Array]] = [
        lambda x: x + bright * (32 / 255),
        lambda x: x + contrast / 2 * (x - x.mean((0, 1), keepdims=True)),
        lambda x: x + saturation / 2 * (x - _grey(x)),
        lambda x: _turn_hue(x, 0.2 * hue),
    ]
    for place in range(4):
        image = jax.lax.switch(order[place], changes, image)
    return jnp.clip(image, 0, 1)


def _turn_hue(image: jax.Array, turns: jax.Array) -> jax.Array:
    """Rotates the hue of HSV; keeps value and chroma."""
    value, least = image.max(-1), image.min(-1)
    chroma = value - least
    red, green, blue = jnp.moveaxis(image, -1, 0)
    divisor = jnp.where(chroma > 0, chroma, 1)
    sextant = jnp.select(
        [value == red, value == green],
        [(green - blue) / divisor, 2 + (blue - red) / divisor],
        4 + (red - green) / divisor,
    )
    sextant = sextant + 6 * turns
    # Each channel is a trapezoid of the hue: 1 in two sextants, 0 in two.
    offsets = jnp.array([5.0, 3, 1])[:, None, None]
    phase = jnp.mod(offsets + sextant[None], 6)
    fall = jnp.clip(jnp.minimum(phase, 4 - phase), 0, 1)
    return jnp.moveaxis(value[None] - chroma[None] * fall, 0, -1)
