"""How alike two attribution maps are: rank correlation and structural similarity.

Spearman's rank correlation asks whether two maps order the pixels alike. The structural similarity
(SSIM) of Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
Structural Similarity", 2004, §III.B, compares means, contrasts and patterns within small windows.
Both are 1 for equal maps and near 0 for unrelated ones.
"""

import jax
import jax.numpy as jnp

WINDOW, DEVIATION = 11, 1.5  # pixels; of the Gaussian window of SSIM
K1, K2 = 0.01, 0.03  # the paper's constants, shares of the range of the pixels


@jax.jit
def spearman(maps: jax.Array, others: jax.Array) -> jax.Array:
    """Returns the rank correlation of each pair of maps, float [N] from -1 to 1.

    Equal values share the mean of their ranks. A constant map orders no pixels: its correlation is
    0, or 1 with a map that is equal to it.

    Args:
      maps: [N, H, W].
      others: [N, H, W].
    """
    first, second = (_centred_ranks(x.reshape(x.shape[0], -1)) for x in (maps, others))
    product = jnp.sum(first * second, axis=-1)
    lengths = jnp.sqrt(jnp.sum(first**2, axis=-1) * jnp.sum(second**2, axis=-1))
    correlation = jnp.where(lengths > 0, product / jnp.where(lengths > 0, lengths, 1), 0)
    return jnp.where(jnp.all(maps == others, axis=(1, 2)), 1, jnp.clip(correlation, -1, 1))


def _centred_ranks(rows: jax.Array) -> jax.Array:
    """Returns the ranks of each row minus their mean; equal values have the mean of their ranks."""

    def ranks(row: jax.Array) -> jax.Array:
        ordered = jnp.sort(row)
        below = jnp.searchsorted(ordered, row, side="left")
        not_above = jnp.searchsorted(ordered, row, side="right")
        return (below + not_above - row.size) / 2

    return jax.vmap(ranks)(rows)


@jax.jit
def ssim(maps: jax.Array, others: jax.Array, value_range: float | jax.Array = 1.0) -> jax.Array:
    """Returns the mean structural similarity of each pair of maps, float [N], at most 1.

    The window is Gaussian, 11 pixels wide with a standard deviation of 1.5, or as wide as the maps
    if they are smaller. Windows lie within the maps.

    Args:
      maps: [N, H, W].
      others: [N, H, W].
      value_range: largest possible value minus smallest; see `unit_range`.
    """
    means = _blur(maps), _blur(others)
    products = means[0] * means[1]
    squares = means[0] ** 2, means[1] ** 2
    covariance = _blur(maps * others) - products
    variances = _blur(maps**2) - squares[0] + _blur(others**2) - squares[1]
    small = (K1 * value_range) ** 2, (K2 * value_range) ** 2
    luminance = (2 * products + small[0]) / (squares[0] + squares[1] + small[0])
    structure = (2 * covariance + small[1]) / (variances + small[1])
    return jnp.mean(luminance * structure, axis=(1, 2))


def _blur(x: jax.Array) -> jax.Array:
    """Returns weighted means over all windows within the maps: [N, H, W] to [N, H', W']."""
    for axis in (1, 2):
        taps = min(WINDOW, x.shape[axis])
        places = jnp.arange(taps, dtype=x.dtype) - (taps - 1) / 2
        weights = jnp.exp(-(places**2) / (2 * DEVIATION**2))
        weights = weights / jnp.sum(weights)
        length = x.shape[axis] - taps + 1
        parts = [jax.lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(taps)]
        x = sum(
            (weight * part for weight, part in zip(weights, parts, strict=True)), start=0 * parts[0]
        )
    return x


def unit_range(maps: jax.Array) -> jax.Array:
    """Returns maps shifted and scaled so that each has the minimum 0 and the maximum 1.

    A constant map becomes 0.

    Args:
      maps: [N, H, W].
    """
    low = jnp.min(maps, axis=(1, 2), keepdims=True)
    spread = jnp.max(maps, axis=(1, 2), keepdims=True) - low
    return (maps - low) / jnp.where(spread > 0, spread, 1)
