"""The units of a layer that images excite most, map by map.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, §4.1: for each map
the nine strongest activations over a data set, one for each image.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

COUNT = 9


class Strongest(NamedTuple):
    """The strongest units of all K maps of a layer, from the strongest on.

    Where there are fewer images than asked for, the arrays are that much shorter.

    Attributes:
      values: float32 [K, n].
      images: int [K, n], which image; no image twice for a map, and of equals the first.
      places: int [K, n, 2], row and column of the unit; zeros for a layer without maps.
      num_images: how many were looked at.
    """

    values: np.ndarray
    images: np.ndarray
    places: np.ndarray
    num_images: int

    @property
    def dead(self) -> np.ndarray:
        """Bool [K]: maps that no image excites, whose largest value is zero or less."""
        return self.values[:, 0] <= 0

    def liveliest(self, count: int) -> np.ndarray:
        """Returns the maps with the largest values that are not dead, int [count] at most."""
        order = np.argsort(-self.values[:, 0], kind="stable")
        return order[~self.dead[order]][:count]


def strongest_units(batches: Iterable[np.ndarray], count: int = COUNT) -> Strongest:
    """Returns the strongest units of a layer over any number of images.

    Args:
      batches: outputs of the layer, in the order of the images; see `add_images`.
      count: of images, for each map.

    Raises:
      ValueError: if there is no image.
    """
    best = None
    for outputs in batches:
        best = add_images(best, outputs, count)
    if best is None:
        raise ValueError("there is no image")
    return best


def add_images(best: Strongest | None, outputs: np.ndarray, count: int = COUNT) -> Strongest:
    """Returns the strongest units of a layer when more images have been looked at.

    Args:
      best: of the images so far; None before the first one.
      outputs: of the layer: [b, h, w, K], or [b, K] of a layer without maps.
      count: of images, for each map.
    """
    maps = np.asarray(outputs, np.float32)
    maps = maps.reshape(len(maps), *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    begun = best.num_images if best else 0
    unit = flat.argmax(1)  # [b, K]
    values = np.take_along_axis(flat, unit[:, None], axis=1)[:, 0].T
    images = np.broadcast_to(np.arange(begun, begun + len(maps)), values.shape)
    places = np.stack(np.divmod(unit.T, maps.shape[2]), axis=-1)
    if best:
        values = np.concatenate([best.values, values], axis=1)
        images = np.concatenate([best.images, images], axis=1)
        places = np.concatenate([best.places, places], axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return Strongest(
        np.take_along_axis(values, order, axis=1),
        np.take_along_axis(images, order, axis=1),
        np.take_along_axis(places, order[..., None], axis=1),
        begun + len(maps),
    )
