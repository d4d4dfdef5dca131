"""Pooling with the padding, ceil mode and divisors of Caffe and torch."""

import math
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.reductions import wide
from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla
from jaxcnn.ops.windows import Window, taps

MANY_TAPS = 25  # larger windows use XLA


Padding = int | str | Sequence[Sequence[int]]


@jax.named_scope("max_pool")
def max_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> jax.Array:
    """Takes the maximum over windows; padding never wins.

    It accepts and refuses the same arguments as `flax.linen.max_pool`, with the same errors.
    Forward mode (`jax.jvp`) needs `JAXCNN_OPS=xla` in the environment; see `jaxcnn.ops.switch`.

    Args:
      x: (N, H, W, C).
      window: (height, width).
      strides: (vertical, horizontal); None is 1.
      padding: pixels on every side, or (before, after) for each axis, or "SAME" or "VALID" as in
        TensorFlow.
      ceil_mode: whether to keep a last window that only partly fits (Caffe, torch's `ceil_mode`),
        unless it would start in the padding.

    Returns:
      (N, H', W', C).
    """
    moves = _window(x, window, strides, padding, ceil_mode)
    return _max_pool(x, moves) if _is_usual(x, moves) else _reference(x, moves)


def winners(x: jax.Array, largest: jax.Array, window: Window) -> jax.Array:
    """Returns which tap of each window holds the maximum; the first one if several do.

    Args:
      x: (N, H, W, C).
      largest: maxima, (N, H', W', C).
      window: shape and movement of the window; at most 127 taps.

    Returns:
      (N, H', W', C), int8: row * width + column within the window; the last tap for a window whose
      maximum is NaN.
    """
    last = math.prod(window.shape) - 1
    found = jnp.full(largest.shape, last, jnp.float32)  # float32 like the images: one fast loop
    for number, values in reversed(list(enumerate(_shifted(x, window)))):
        found = jnp.where(values == largest, jnp.float32(number), found)
    return found.astype(jnp.int8)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: jax.Array, window: Window) -> jax.Array:
    """Returns the maxima; on the CPU they are not fused with operations before and after."""
    return materialize_on_cpu(_forward(x, window)[0])


def _forward(x: jax.Array, window: Window) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns the maxima, on CPU and GPU by a chain of maximums, and the residuals."""
    # The backward pass compares these numbers with the maxima. They must not be recomputed, because
    # other kernels may round them differently.
    x = materialize_on_cpu(x)

    def by_taps(x: jax.Array) -> jax.Array:
        return reduce(jnp.maximum, _shifted(x, window))

    largest = lax.platform_dependent(
        x, cpu=by_taps, cuda=by_taps, default=partial(_reference, window=window)
    )
    return largest, (x, largest)


def _backward(
    window: Window, saved: tuple[jax.Array, jax.Array], of_y: jax.Array
) -> tuple[jax.Array]:
    """Passes the gradient of each output to the first of its equal maxima.

    XLA's own form expands to a scatter, pixel by pixel. A training step of VGG-16 took 111 ms with
    it and 88 without, 256 images in bfloat16 on an H100.
    """
    forms: dict[str, Any] = {
        "cpu": _to_winners_on_cpu,
        "cuda": _to_winners_on_gpu,
        "default": _by_library,
    }
    chosen = {platform: partial(form, window=window) for platform, form in forms.items()}
    return (lax.platform_dependent(*saved, of_y, **chosen),)


def _by_library(x: jax.Array, largest: jax.Array, of_y: jax.Array, window: Window) -> jax.Array:
    return jax.vjp(lambda x: _reference(x, window), x)[1](of_y)[0]


# XLA must not recompute the winners for each tap. Where it ignores barriers, a condition whose
# value is known only at run time prevents that.
def _to_winners_on_gpu(
    x: jax.Array, largest: jax.Array, of_y: jax.Array, window: Window
) -> jax.Array:
    first = lax.optimization_barrier(winners(x, largest, window))
    return _to_winners(first, of_y, x.shape, window)


def _to_winners_on_cpu(
    x: jax.Array, largest: jax.Array, of_y: jax.Array, window: Window
) -> jax.Array:
    def last_taps(x: jax.Array, largest: jax.Array) -> jax.Array:
        return jnp.full(largest.shape, math.prod(window.shape) - 1, jnp.int8)

    of_y = materialize_on_cpu(of_y)  # otherwise recomputed for each tap
    any_value = largest.ravel()[0]
    first = lax.cond(any_value == any_value, partial(winners, window=window), last_taps, x, largest)
    return materialize_on_cpu(_to_winners(first, of_y, x.shape, window))


def _to_winners(
    first: jax.Array, of_y: jax.Array, image: Sequence[int], window: Window
) -> jax.Array:
    """Returns the gradient for images of a shape, given the winning tap of each window."""
    zero = jnp.zeros((), of_y.dtype)
    parts = []
    for number, place in enumerate(np.ndindex(*window.shape)):
        # Padding that places the tap's values on the image; negative edges cut off its padding.
        edges = [(0, 0, 0)]
        for axis, stride in enumerate(window.strides):
            start = place[axis] - window.pads[axis][0]
            end = start + (of_y.shape[1 + axis] - 1) * stride + 1
            edges.append((start, image[1 + axis] - end, stride - 1))
        chosen = jnp.where(first == number, of_y, zero)
        parts.append(lax.pad(chosen, zero, [*edges, (0, 0, 0)]))
    return reduce(add, parts)


_max_pool.defvjp(_forward, _backward)


def _shifted(x: jax.Array, window: Window) -> list[jax.Array]:
    """Returns the pixels under each tap, (N, H', W', C), with -inf in the padding."""
    sizes = window.outputs(x.shape)
    return [tap.spread(x[tap.pixels], sizes, -math.inf) for tap in taps(x.shape, window)]


def _reference(x: jax.Array, window: Window) -> jax.Array:
    x, window = _without_rest(x, window)
    return nn.max_pool(x, window.shape, window.strides, window.pads)


def _without_rest(x: jax.Array, window: Window) -> tuple[jax.Array, Window]:
    """Leaves out pixels and padding behind the last window, where windows do not overlap.

    XLA:CPU of jaxlib 0.10 (YNNPACK) writes behind the end of the result if there are any: 2x2
    windows with stride 2 on 9x9 pixels damaged the heap.
    """
    pads, kept = [], []
    lengths = x.shape[-1 - len(window.shape) : -1]
    cells = zip(lengths, window.shape, window.strides, window.pads, strict=True)
    for length, k, stride, (before, after) in cells:
        windows = (length + before + after - k) // stride + 1
        rest = length + before + after - (windows - 1) * stride - k if stride >= k else 0
        pads.append((before, max(after - rest, 0)))
        kept.append(length - max(rest - after, 0))
    whole = window._replace(pads=tuple(pads))
    if tuple(kept) == lengths:
        return x, whole
    return x[(..., *map(slice, kept), slice(None))], whole


@jax.named_scope("avg_pool")
def avg_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Takes the mean over windows; see `max_pool` for valid arguments.

    Args:
      x: (N, H, W, C).
      window: (height, width).
      strides: see `max_pool`.
      padding: see `max_pool`.
      ceil_mode: see `max_pool`; its additional pixels are never counted.
      count_include_pad: whether to divide by the window's size (torch's default) or by the number
        of image pixels in it (TensorFlow).

    Returns:
      (N, H', W', C).
    """
    moves = _window(x, window, strides, padding, ceil_mode)
    if count_include_pad and ceil_mode and padding:
        # The zeros of the padding are counted, those of the ceil mode are not: pad with pixels
        # first.
        given = _window(x, window, strides, padding, False).pads
        counted = tuple(
            (0, after - zeros) for (_, after), (_, zeros) in zip(moves.pads, given, strict=True)
        )
        x = jnp.pad(x, ((0, 0), *given, (0, 0)))
        moves = moves._replace(pads=counted)
    include = count_include_pad and not ceil_mode

    def by_library(x: jax.Array) -> jax.Array:
        x, whole = _without_rest(x, moves)
        means = nn.avg_pool(x, whole.shape, whole.strides, whole.pads, include)
        # Flax divides by a float32 number of pixels for any dtype of x.
        return means.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else means

    if moves.strides != (1, 1) or not _is_usual(x, moves):
        return by_library(x)
    return lax.platform_dependent(x, cpu=lambda x: _by_taps(x, moves, include), default=by_library)


def _by_taps(x: jax.Array, window: Window, count_include_pad: bool) -> jax.Array:
    """Averages windows with stride 1; value and gradient of XLA:CPU's form take twice as long."""
    sizes = window.outputs(x.shape)
    found = list(taps(x.shape, window))
    total = reduce(add, [tap.spread(wide(x[tap.pixels]), sizes, 0.0) for tap in found])
    counts = np.zeros((1, *sizes, 1))
    for tap in found:
        counts[tap.outputs] += 1
    return (total / (len(found) if count_include_pad else counts)).astype(x.dtype)


@jax.named_scope("avg_pool")
def adaptive_avg_pool(x: jax.Array, output_size: tuple[int, int]) -> jax.Array:
    """Averages over bins that cover the map, like torch's `AdaptiveAvgPool2d`.

    Bin i of n over a length L is [floor(i·L/n), ceil((i+1)·L/n)): bins overlap if n does not divide
    L, and repeat pixels if n is larger.

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


def _window(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int] | None,
    padding: Padding,
    ceil_mode: bool,
) -> Window:
    """Returns the window after Flax has checked the arguments."""
    shape = tuple(window)
    steps = (1,) * len(shape) if strides is None else tuple(strides)
    if isinstance(padding, str) and ceil_mode:
        raise ValueError("ceil_mode goes with a padding in pixels")
    pads: Any = padding
    if isinstance(padding, int | np.integer):
        pads = ((int(padding),) * 2,) * len(shape)
    elif not isinstance(padding, str):
        pads = tuple(map(tuple, padding))
    jax.eval_shape(lambda x: nn.max_pool(x, shape, steps, pads), x)
    lengths = x.shape[-1 - len(shape) : -1]
    if isinstance(pads, str):
        pads = lax.padtype_to_pads(lengths, shape, steps, pads)
    if ceil_mode:
        cells = zip(lengths, shape, steps, pads, strict=True)
        pads = [whole_windows(*cell) for cell in cells]
    return Window(shape, steps, tuple((int(before), int(after)) for before, after in pads))


def whole_windows(length: int, k: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Returns the padding with which the last window of an axis fits."""
    before, after = pads
    outputs = -(-(length + before + after - k) // stride) + 1
    if (outputs - 1) * stride >= length + before:
        outputs -= 1
    return before, max(after, (outputs - 1) * stride + k - length - before)


def _is_usual(x: jax.Array, window: Window) -> bool:
    """Returns whether the formulas of this file support the images and the window."""
    return (
        not plain_xla()
        and not is_explicit(x)
        and jnp.issubdtype(x.dtype, jnp.floating)
        and x.ndim == 4
        and len(window.shape) == 2
        and math.prod(window.shape) <= MANY_TAPS
        and min(map(min, window.pads)) >= 0
    )
