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
