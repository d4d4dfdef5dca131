"""Normalises by batch statistics, with a gradient that saves little memory and sums fast."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.collectives import all_reduce
from jaxcnn.ops.reductions import sums_over_pixels
from jaxcnn.ops.switch import plain_xla

Array = jax.Array


def normalise(
    x: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float, dtype: Any
) -> Array:
    """Returns (x - mean) / sqrt(variance + epsilon) · scale + bias, channel by channel.

    Args:
      x: (…, C).
      mean: [C].
      variance: [C].
      scale: γ, [C].
      bias: β, [C].
      epsilon: a number.
      dtype: dtype of the output.
    """
    slope = lax.rsqrt(variance + epsilon) * scale
    return ((x - _lift(mean, x)) * _lift(slope, x) + _lift(bias, x)).astype(dtype)


def batch_normalise(
    x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """Normalises each channel by its mean and variance over all pixels of the batch.

    Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, algorithm 1. Sums are computed
    in at least float32. The backward pass saves only x and values per channel. Forward mode
    (`jax.jvp`) needs `JAXCNN_OPS=xla` in the environment, which uses JAX's derivative.

    Args:
      x: (…, C).
      scale: [C], γ.
      bias: [C], β.
      epsilon: added to the variance.
      dtype: dtype of the output.
      axis_name: a mapped axis over whose devices the statistics are averaged.

    Returns:
      The output, and mean and variance [C] in at least float32. The variance is the biased one: the
      squared distance from the mean, divided by the count.
    """
    arguments = x, scale, bias, epsilon, dtype, axis_name
    return _forward(*arguments)[0] if plain_xla() else _batch_normalise(*arguments)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalised(
    x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any, axis_name: str | None
) -> tuple[Array, Array, Array]:
    return _forward(x, scale, bias, epsilon, dtype, axis_name)[0]


def _forward(
    x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any, axis_name: str | None
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    sums = sums_over_pixels(lambda x: (x, x * x), x)
    means = [total / _pixels(x) for total in sums]
    mean, square = all_reduce(lax.pmean, means, axis_name)
    variance = jnp.maximum(square - mean * mean, 0)
    y = normalise(x, mean, variance, scale, bias, epsilon, dtype)
    return (y, mean, variance), (x, mean, lax.rsqrt(variance + epsilon), scale)


def _backward(
    epsilon: float,
    dtype: Any,
    axis_name: str | None,
    saved: tuple[Array, ...],
    gradients: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:
    del epsilon, dtype
    (x, mean, inverse, scale), (of_y, of_mean, of_variance) = saved, gradients
    of_y = materialize_on_cpu(of_y)
    of_bias, by_x = sums_over_pixels(lambda g, x: (g, g * (x - _lift(mean, x))), of_y, x)
    of_scale = inverse * by_x
    # The statistics depend on x too; on several devices they depend on all devices' sums.
    factor = inverse * scale
    by_statistics = of_mean - factor * of_bias, 2 * of_variance - factor * inverse * of_scale
    by_mean, by_distance = all_reduce(lax.pmean, by_statistics, axis_name)
    offset, slope = by_mean / _pixels(x), by_distance / _pixels(x)
    of_x = _lift(factor, x) * of_y + _lift(offset, x) + _lift(slope, x) * (x - _lift(mean, x))
    return of_x.astype(x.dtype), of_scale.astype(scale.dtype), of_bias.astype(scale.dtype)


_normalised.defvjp(_forward, _backward)
# Traced once for each shape; XLA inlines it.
_batch_normalise = jax.jit(_normalised, static_argnums=(3, 4, 5))


def _lift(channels: Array, x: Array) -> Array:
    """Returns per-channel values with as many axes as x."""
    return channels.reshape((1,) * (x.ndim - 1) + (-1,))


def _pixels(x: Array) -> int:
    return x.size // x.shape[-1]
