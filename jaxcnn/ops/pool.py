"""Pooling with the padding, ceil mode and divisors of Caffe and torch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn


def max_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: int | str = 0,
    ceil_mode: bool = False,
) -> jax.Array:
    """Takes the maximum over windows; what is padded never wins.

    Args:
      x: (N, H, W, C).
      window: (height, width).
      strides: (vertical, horizontal).
      padding: pixels on every side, or "SAME" or "VALID" as TensorFlow has them.
      ceil_mode: keep a last window that only partly fits (Caffe, torch's `ceil_mode`), unless it
        would start in the padding.

    Returns:
      (N, H', W', C).
    """
    return nn.max_pool(x, window, strides, _pads(x, window, strides, padding, ceil_mode))


def avg_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: int | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Takes the mean over windows.

    Args:
      x: (N, H, W, C).
      window: (height, width).
      strides: (vertical, horizontal).
      padding: see `max_pool`.
      ceil_mode: see `max_pool`; what it adds beyond the padding is never counted.
      count_include_pad: divide by the window's size (torch's default) or by the number of pixels
        of the image in it (TensorFlow).

    Returns:
      (N, H', W', C).
    """
    pads = _pads(x, window, strides, padding, ceil_mode)
    counted: str | tuple[tuple[int, int], ...] = pads
    if count_include_pad and ceil_mode and padding:
        # The zeros of the padding count, those of the ceil mode do not: make the former pixels.
        given = _pads(x, window, strides, padding, False)
        counted = tuple(
            (0, after - zeros) for (_, after), (_, zeros) in zip(pads, given, strict=True)
        )
        x = jnp.pad(x, ((0, 0), *given, (0, 0)))
    return nn.avg_pool(x, window, strides, counted, count_include_pad and not ceil_mode)


def adaptive_avg_pool(x: jax.Array, output_size: tuple[int, int]) -> jax.Array:
    """Averages over bins that cover the map, as torch's `AdaptiveAvgPool2d`.

    Bin i of n over a length L is [floor(i·L/n), ceil((i+1)·L/n)): bins overlap where n does not
    divide L, and repeat pixels where n is larger.

    Args:
      x: (N, H, W, C).
      output_size: (H', W').

    Returns:
      (N, H', W', C).
    """
    if x.shape[1:3] == output_size:
        return x
    for axis, bins in zip((1, 2), output_size, strict=True):
        length = x.shape[axis]
        edges = [(i * length // bins, -(-(i + 1) * length // bins)) for i in range(bins)]
        means = [
            jnp.mean(jax.lax.slice_in_dim(x, start, end, axis=axis), axis=axis, keepdims=True)
            for start, end in edges
        ]
        x = jnp.concatenate(means, axis=axis)
    return x


def _pads(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: int | str,
    ceil_mode: bool,
) -> tuple[tuple[int, int], ...]:
    """Returns (before, after) for height and width."""
    if isinstance(padding, str):
        if ceil_mode:
            raise ValueError("ceil_mode goes with a padding in pixels")
        return tuple(jax.lax.padtype_to_pads(x.shape[1:3], window, strides, padding))
    pads = []
    for length, k, s in zip(x.shape[1:3], window, strides, strict=True):
        after = padding
        if ceil_mode:
            outputs = -(-(length + 2 * padding - k) // s) + 1
            if (outputs - 1) * s >= length + padding:
                outputs -= 1
            after = max(padding, (outputs - 1) * s + k - length - padding)
        pads.append((padding, after))
    return tuple(pads)
