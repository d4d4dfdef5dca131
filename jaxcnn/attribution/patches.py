"""Patches of images: the receptive fields of units.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, figure 2, show the
patch of the image that a unit sees beside the projection of the unit.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.analysis.receptive_fields import receptive_field
from jaxcnn.errors import UserError, nearest


def unit_boxes(
    model: nn.Module, input_shape: Sequence[int], layer: str, positions: Any
) -> np.ndarray:
    """Returns the pixels that units see: (top, left, bottom, right), int (N, 4), not clipped.

    All boxes of a layer have one size. Bottom and right are the first pixels that do not belong.

    Args:
      model: the network.
      input_shape: (H, W, C) of an image.
      layer: name of a layer, see `jaxcnn.analysis.trace`.
      positions: row and column of the units, int (N, 2).

    Raises:
      UserError: for a layer that there is not.
    """
    fields = receptive_field(model, input_shape)
    if layer not in fields:
        raise UserError(f"the network has no layer {layer!r}: {nearest(layer, fields)}")
    return np.array([fields[layer].box(row, column) for row, column in np.asarray(positions)])


def cut_patches(values: jax.Array | np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the patch in the box of each image, (N, h, w, C); zeros lie outside of the image.

    Along an axis on which a box is as long as the image, or longer, the patch is the whole image.

    Args:
      values: images or projections, (N, H, W, C).
      boxes: of one size, (top, left, bottom, right), int (N, 4); see `unit_boxes`.
    """
    values, boxes = np.asarray(values), np.asarray(boxes)
    starts, sizes = boxes[:, :2].copy(), (boxes[0, 2:] - boxes[0, :2]).copy()
    for axis in range(2):
        if sizes[axis] >= values.shape[1 + axis]:
            starts[:, axis], sizes[axis] = 0, values.shape[1 + axis]
    around = [(0, 0), (sizes[0], sizes[0]), (sizes[1], sizes[1]), (0, 0)]
    padded = np.pad(values, around)
    begin = np.clip(starts + sizes, 0, np.array(padded.shape[1:3]) - sizes)
    return np.stack(
        [
            image[top : top + sizes[0], left : left + sizes[1]]
            for image, (top, left) in zip(padded, begin, strict=True)
        ]
    )
