"""Effective receptive fields: the pixels that a unit really depends on.

Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional
Neural Networks", 2016, arXiv 1701.04128. The gradient of a unit with respect to the image falls off
like a Gaussian within the theoretical field, and its width grows with the square root of the depth
only (§2). Each image of a batch draws a channel; the unit is the one in the middle of the map. Of a
ReLU it is the unit's input: where the ReLU is off there would be no gradient at all.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.analysis.receptive_fields import of_graph
from jaxcnn.analysis.signal import RECTIFIERS
from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.errors import UserError

MASS = 0.95
CONTRIBUTION = 1 - 0.9545  # of the largest pixel: within two standard deviations of a Gaussian


class EffectiveField(NamedTuple):
    """The effective receptive field of the middle unit of a layer.

    Attributes:
      layer: its name.
      gradient: mean over images of the sum over colours of |gradient|, float (H, W); not scaled.
      box: the theoretical field (top, left, bottom, right), without the last two; it can lie
        outside of the image.
      size: side of the smallest square around the middle of the theoretical field that holds 95 %
        of the gradient, pixels.
      above: square root of the number of pixels above 4.55 % of the largest, the size of Luo et al.
      ratio: `size` by the longer side of the theoretical field, or of the image if that is smaller.
    """

    layer: str
    gradient: np.ndarray
    box: tuple[int, int, int, int]
    size: int
    above: float
    ratio: float


def effective_receptive_field(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    layer: str = "",
    *,
    key: jax.Array | None = None,
) -> EffectiveField:
    """Returns the effective receptive field of a layer.

    Args:
      model: takes (images, train).
      variables: of the model, fresh or trained.
      images: (N, H, W, C), photos or noise; large enough for the theoretical field, if its edges
        shall be seen.
      layer: name of a layer with maps; without it the last maps of the network.
      key: draws the channel of each image; None is the key of 0.

    Raises:
      UserError: if there is no such layer, or it has no maps.
    """
    graph = trace(model, variables, images)
    layer = layer or graph.last_maps()
    if len(graph[layer].shape) != 3:
        raise UserError(
            f"the layer {layer} has no maps, so its units have no place: choose another"
        )
    rows, columns, channels = graph[layer].shape
    row, column = rows // 2, columns // 2
    key = jax.random.key(0) if key is None else key
    chosen = jax.nn.one_hot(jax.random.randint(key, (len(images),), 0, channels), channels)

    rules = {layer: _input_of} if graph[layer].kind in RECTIFIERS else None

    def units(images: jax.Array) -> jax.Array:
        maps = graph.run(variables, images, keep=(layer,), rules=rules)[1][layer]
        return jnp.sum(maps[:, row, column] * chosen.astype(maps.dtype))

    gradient = jnp.mean(jnp.sum(jnp.abs(jax.grad(units)(images)), axis=-1), axis=0)
    box = of_graph(graph)[layer].box(row, column)
    return _measured(layer, np.asarray(gradient, np.float64), box)


def _input_of(rectifier: Any, x: jax.Array) -> jax.Array:
    """Computes the identity in place of a rectifier; see `Graph.run`."""
    return x


def _measured(layer: str, gradient: np.ndarray, box: tuple[int, int, int, int]) -> EffectiveField:
    size = mass_size(gradient, box)
    above = float(np.sqrt(np.sum(gradient > CONTRIBUTION * gradient.max(initial=0))))
    whole = min(max(box[2] - box[0], box[3] - box[1]), max(gradient.shape))
    return EffectiveField(layer, gradient, box, size, above, size / whole)


def mass_size(gradient: np.ndarray, box: tuple[int, int, int, int], mass: float = MASS) -> int:
    """Returns the side of the smallest square around a box's middle that holds a share of a map.

    Args:
      gradient: (H, W), not negative.
      box: (top, left, bottom, right), without the last two.
      mass: the share.

    Returns:
      Pixels; 0 if the map is zero.
    """
    middle = ((box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2)
    rows, columns = (np.abs(np.arange(n) - m) for n, m in zip(gradient.shape, middle, strict=True))
    distance = np.maximum(rows[:, None], columns[None]).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(gradient.ravel()[order])
    if not held[-1] > 0:
        return 0
    reached = np.searchsorted(held, mass * held[-1])
    return int(2 * distance[order][min(reached, len(order) - 1)] + 1)
