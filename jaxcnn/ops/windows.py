"""Splits windows over images into taps, for loops that XLA:CPU vectorises."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Window(NamedTuple):
    """Shape and movement of a window over images.

    Attributes:
      shape: (height, width), in taps.
      strides: (vertical, horizontal).
      pads: (before, after) for height and width; none negative.
      dilation: distance of neighbouring taps, (vertical, horizontal).
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...] = (1, 1)

    def outputs(self, image: Sequence[int]) -> tuple[int, ...]:
        """Returns (H', W') for images of shape (N, H, W, C)."""
        return tuple(
            max((image[1 + axis] + sum(self.pads[axis]) - span) // self.strides[axis] + 1, 0)
            for axis, span in enumerate(
                (taps - 1) * apart + 1
                for taps, apart in zip(self.shape, self.dilation, strict=True)
            )
        )


class Tap(NamedTuple):
    """One position in a window, and the pixels and outputs that it connects; padding has none.

    Attributes:
      place: (row, column) in the window.
      pixels: index of its pixels in images (N, H, W, C).
      outputs: index of their outputs in arrays (N, H', W', C).
    """

    place: tuple[int, ...]
    pixels: tuple[slice, ...]
    outputs: tuple[slice, ...]

    def spread(self, x: jax.Array, outputs: Sequence[int], value: float) -> jax.Array:
        """Returns x placed in all outputs (H', W'), and `value` where the tap is in the padding."""
        around = [
            (part.start, length - part.stop, 0)
            for part, length in zip(self.outputs[1:], outputs, strict=True)
        ]
        return lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0), *around, (0, 0, 0)])


def taps(image: Sequence[int], window: Window) -> Iterator[Tap]:
    """Yields the taps of a window row by row, for images of shape (N, H, W, C)."""
    sizes = window.outputs(image)
    for place in np.ndindex(*window.shape):
        pixels, outputs = [slice(None)], [slice(None)]
        for axis in range(2):
            stride = window.strides[axis]
            offset = place[axis] * window.dilation[axis] - window.pads[axis][0]
            first = max(0, -(offset // stride))
            last = max(first, min(sizes[axis], (image[1 + axis] - 1 - offset) // stride + 1))
            pixels.append(slice(offset + first * stride, offset + last * stride, stride))
            outputs.append(slice(first, last))
        yield Tap(place, tuple(pixels), tuple(outputs))


def tap_slices(
    padded: jax.Array, sizes: Sequence[int], window: Window
) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Yields the place of each tap, and the pixels (N, H', W', C) that it takes.

    Args:
      padded: the padded image.
      sizes: (H', W').
      window: movement of the kernel.
    """
    for place in np.ndindex(*window.shape):
        rows, columns = (
            slice(tap * apart, tap * apart + (size - 1) * stride + 1, stride)
            for tap, apart, size, stride in zip(
                place, window.dilation, sizes, window.strides, strict=True
            )
        )
        yield place, padded[:, rows, columns]


class Cells(NamedTuple):
    """One axis of an image in cells as long as the stride, for sums that go back to pixels.

    All pixels of a cell are reached from the same few outputs. What goes back is then a sum of
    slices of the outputs, each beside the pixels of its cell, and XLA:CPU vectorises it; with
    zeros between the outputs it asks for every pixel whether an output is there.

    Attributes:
      number: of cells; the last one may be longer than the image.
      pads: (before, after), zeros around the outputs.
      reached: for every slice of the padded outputs its first one, and through which tap each pixel
        of a cell is reached: -1 if through none.
    """

    number: int
    pads: tuple[int, int]
    reached: list[tuple[int, list[int]]]


def cells(sizes: Sequence[int], outputs: Sequence[int], window: Window) -> list[Cells]:
    """Returns both axes in cells, for images of (H, W) pixels and (H', W') outputs."""
    return [_cells(sizes[axis], outputs[axis], window, axis) for axis in range(2)]


def _cells(pixels: int, outputs: int, window: Window, axis: int) -> Cells:
    stride, apart, (before, _) = window.strides[axis], window.dilation[axis], window.pads[axis]
    last_tap = (window.shape[axis] - 1) * apart
    first, last = -((last_tap - before) // stride), (stride - 1 + before) // stride
    count = -(-pixels // stride)
    pads = max(-first, 0), max(count + last - outputs, 0)
    reached = []
    for offset in range(first, last + 1):
        places = [pixel + before - stride * offset for pixel in range(stride)]
        through = [p // apart if 0 <= p <= last_tap and p % apart == 0 else -1 for p in places]
        reached.append((offset + pads[0], through))
    return Cells(count, pads, reached)


def cell_slices(
    padded: jax.Array, axes: Sequence[Cells]
) -> Iterator[tuple[tuple[list[int], list[int]], jax.Array]]:
    """Yields slices of padded outputs (N, rows, 1, columns, 1, C), with the taps of both axes."""
    rows, columns = axes
    for y, down in rows.reached:
        for x, across in columns.reached:
            part = padded[:, y : y + rows.number, x : x + columns.number]
            yield (down, across), part[:, :, None, :, None]


def from_cells(x: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """Returns the images (N, H, W, C) of cells (N, rows, stride, columns, stride, C)."""
    number, rows, down, columns, across, channels = x.shape
    whole = x.reshape(number, rows * down, columns * across, channels)
    return whole[:, : sizes[0], : sizes[1]]
