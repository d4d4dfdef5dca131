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

from jaxcnn.ops.barrier import materialize_on_cpu, never
from jaxcnn.ops.reductions import wide
from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla
from jaxcnn.ops.windows import Window, cell_slices, cells, from_cells, tap_slices, taps

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


def winners(pixels: Sequence[jax.Array], largest: jax.Array) -> jax.Array:
    """Returns which tap of each window holds the maximum; the first one if several do.

    Args:
      pixels: those under each tap, (N, H', W', C); of at most 127 taps.
      largest: maxima, (N, H', W', C).

    Returns:
      (N, H', W', C), int8: row * width + column within the window; the last tap for a window whose
      maximum is NaN.
    """
    # float32 like the images: one fast loop
    found = jnp.full(largest.shape, len(pixels) - 1, jnp.float32)
    for number, values in reversed(list(enumerate(pixels))):
        found = jnp.where(values == largest, jnp.float32(number), found)
    return found.astype(jnp.int8)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: jax.Array, window: Window) -> jax.Array:
    """Returns the maxima; on the CPU they are not fused with operations before and after."""
    return _forward(x, window)[0]


def _forward(x: jax.Array, window: Window) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns the maxima, on CPU and GPU by a chain of maximums, and the residuals."""
    # The backward pass compares these numbers with the maxima. They must not be recomputed, because
    # other kernels may round them differently.
    x = materialize_on_cpu(x)

    def largest_of(shifted: Any) -> Any:
        return lambda x: reduce(jnp.maximum, shifted(x, window))

    largest = lax.platform_dependent(
        x,
        cpu=largest_of(_shifted_on_cpu),
        cuda=largest_of(_shifted),
        default=partial(_reference, window=window),
    )
    largest = materialize_on_cpu(largest)
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


def _to_winners_on_gpu(
    x: jax.Array, largest: jax.Array, of_y: jax.Array, window: Window
) -> jax.Array:
    # XLA must not recompute the winners for each tap.
    first = lax.optimization_barrier(winners(_shifted(x, window), largest))
    return _to_winners(first, of_y, x.shape, window)


def _to_winners_on_cpu(
    x: jax.Array, largest: jax.Array, of_y: jax.Array, window: Window
) -> jax.Array:
    """Returns the gradient by cells, in a fifth of the time of sums with zeros in between."""

    def found(x: jax.Array, largest: jax.Array) -> jax.Array:
        return winners(_shifted_on_cpu(x, window), largest)

    def nothing(x: jax.Array, largest: jax.Array) -> jax.Array:
        return jnp.zeros(largest.shape, jnp.int8)

    # XLA must not recompute the winners for each tap. It ignores barriers, and sees through a loop
    # over integers; a condition that is known only at run time prevents it.
    unknown = never(largest)
    first = lax.cond(unknown, nothing, found, x, largest)
    rows, columns = axes = cells(x.shape[1:3], of_y.shape[1:3], window)
    around = ((0, 0), rows.pads, columns.pads, (0, 0))
    first, of_y = jnp.pad(first, around), materialize_on_cpu(jnp.pad(of_y, around))
    first = lax.cond(unknown, jnp.zeros_like, lambda first: first, first)
    zero, parts = jnp.zeros((), of_y.dtype), []
    slices = zip(cell_slices(first, axes), cell_slices(of_y, axes), strict=True)
    for ((down, across), won), (_, part) in slices:
        places = [
            [row * window.shape[1] + column if row >= 0 <= column else -1 for column in across]
            for row in down
        ]
        numbers = np.array(places, np.int8)[None, None, :, None, :, None]
        parts.append(jnp.where(won == numbers, part, zero))
    return materialize_on_cpu(from_cells(reduce(add, parts), x.shape[1:3]))


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


def _shifted_on_cpu(x: jax.Array, window: Window) -> list[jax.Array]:
    """Returns the same; where windows leave the image at two opposite sides, of a padded copy.

    XLA:CPU vectorises padding at one side only. 7 images of 23x23 with 192 channels, 3x3/2: 0.9
    instead of 1.2 ms for the maxima, 1.0 instead of 1.8 for the winners. At one side the copy takes
    longer than it saves: 16 of 112x112, 64 channels, 15 instead of 9 ms, 20 instead of 5.
    """
    axes = zip(
        x.shape[1:3],
        window.outputs(x.shape),
        window.shape,
        window.strides,
        window.pads,
        strict=True,
    )
    both = (
        before and (outputs - 1) * stride + taps > before + length
        for length, outputs, taps, stride, (before, _) in axes
    )
    if not any(both):
        return _shifted(x, window)
    pads = ((0, 0), *window.pads, (0, 0))
    padded = materialize_on_cpu(jnp.pad(x, pads, constant_values=-math.inf))
    return [pixels for _, pixels in tap_slices(padded, window.outputs(x.shape), window)]


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
    """Takes the mean over windows; see `max_pool` for valid arguments and forward mode.

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

    if not _is_usual(x, moves):
        return by_library(x)
    if moves.strides == (1, 1):
        by_taps = partial(_by_taps, window=moves, count_include_pad=include)
        return lax.platform_dependent(x, cpu=by_taps, default=by_library)
    if moves.strides == moves.shape and not any(map(any, moves.pads)):
        return _means_of_blocks(_without_rest(x, moves)[0], moves)
    return by_library(x)


def _by_taps(x: jax.Array, window: Window, count_include_pad: bool) -> jax.Array:
    """Averages by a sum of slices. At stride 1 XLA:CPU's value and gradient take twice as long."""
    sizes = window.outputs(x.shape)
    found = list(taps(x.shape, window))
    total = reduce(add, [tap.spread(wide(x[tap.pixels]), sizes, 0.0) for tap in found])
    counts = np.zeros((1, *sizes, 1))
    for tap in found:
        counts[tap.outputs] += 1
    return (total / (len(found) if count_include_pad else counts)).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _means_of_blocks(x: jax.Array, window: Window) -> jax.Array:
    """Averages windows that do not overlap and leave nothing over.

    The value is a sum of slices on the CPU, XLA's own on accelerators. The gradient, on all of
    them, is each window's share for all its pixels. ReLU, value and gradient by XLA's forms and by
    these in ms, two cores of an AMD EPYC (Zen 5), jax 0.12.0.1:

    | 2x2                    | XLA's | here |
    |------------------------|------:|-----:|
    | 64 of 28x28, 6         |  0.33 | 0.17 |
    | 64 of 10x10, 16        |  0.13 | 0.05 |
    | 16 of 56x56, 128       |   7.2 |  3.4 |
    | 16 of 28x28, 256       |   2.3 |  0.8 |
    """
    by_taps = partial(_by_taps, window=window, count_include_pad=True)

    def by_library(x: jax.Array) -> jax.Array:
        return nn.avg_pool(x, window.shape, window.strides).astype(x.dtype)

    return lax.platform_dependent(x, cpu=by_taps, default=by_library)


def _of_blocks(window: Window, saved: None, of_y: jax.Array) -> tuple[jax.Array]:
    number, height, width, channels = of_y.shape
    down, right = window.shape
    shares = materialize_on_cpu(of_y / (down * right))[:, :, None, :, None]
    blocks = jnp.broadcast_to(shares, (number, height, down, width, right, channels))
    return (blocks.reshape(number, height * down, width * right, channels),)


_means_of_blocks.defvjp(lambda x, window: (_means_of_blocks(x, window), None), _of_blocks)


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
