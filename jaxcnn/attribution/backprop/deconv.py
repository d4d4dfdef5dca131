"""Deconvnet: one unit projected back to the pixels that excite it.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv 1311.2901,
§2.1: all other activations of the layer are set to zero, and the maps go down through unpooling
(to the places of the maxima, the switches), rectification and transposed filters, until pixels are
reached. In figure 2 the projections stand beside the patches of images that lie in the receptive
field of the unit.

The signal starts as the activation of the unit, or as 1 at the logit of a class. Contrast
normalisation is passed over on the way back, biases play no part, and a pool whose windows overlap
adds what its windows send to a pixel. Without ReLUs the projection would be the gradient.

Ours, as the paper's network has none of them: BatchNorm multiplies by its factors, averages are
spread evenly, sums and concatenations of branches pass the signal to each.
"""

from typing import Any

import jax
from flax import linen as nn

from jaxcnn.attribution.backprop.rules import UnitProjection, project_class, project_unit


def deconvnet(model: nn.Module, variables: Any, images: Any, classes: Any = None) -> jax.Array:
    """Returns the projection of a class, (N, H, W, C) of the images' dtype.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.

    Raises:
      UserError: for a network without ReLU, or for images or classes of another kind.
    """
    return project_class("deconvnet", model, variables, images, classes)


def deconvnet_unit(
    model: nn.Module,
    variables: Any,
    images: Any,
    layer: str,
    channels: Any,
    positions: Any = None,
) -> UnitProjection:
    """Returns the projection of one unit for each image.

    `unit_boxes` and `cut_patches` of `jaxcnn.attribution` cut projections and images to the
    receptive fields of the units.

    Args:
      model: the network.
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      layer: name of a layer, see `jaxcnn.analysis.trace`.
      channels: the unit's map, int (N,), or one number for all images.
      positions: row and column of the units, int (N, 2); None is the strongest unit of each map.

    Raises:
      UserError: for a network without ReLU, a layer, channel or position that there is not, or
        images of another kind.
    """
    return project_unit("deconvnet", model, variables, images, layer, channels, positions)
