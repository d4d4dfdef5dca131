"""Guided backpropagation: the gradient with only positive signals at every ReLU.

Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity: The All Convolutional
Net", 2014, arXiv 1412.6806, §3.4 and figure 1: R^l = (f^l > 0)·(R^{l+1} > 0)·R^{l+1}, the masks of
the gradient and of the deconvnet together. It needs no switches where there are no pools.

It draws edges of the image whatever the weights of the upper layers are (Adebayo et al., 2018,
arXiv 1810.03292; Nie, Zhang and Patel, 2018, arXiv 1805.07039): do not read it as an explanation of
a decision.

Ours: local response normalisation keeps its gradient.
"""

from typing import Any

import jax
from flax import linen as nn

from jaxcnn.attribution.backprop.rules import UnitProjection, project_class, project_unit


def guided_backprop(
    model: nn.Module, variables: Any, images: Any, classes: Any = None
) -> jax.Array:
    """Returns guided backpropagation from the logit of a class, (N, H, W, C).

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.

    Raises:
      UserError: for a network without ReLU, or for images or classes of another kind.
    """
    return project_class("guided", model, variables, images, classes)


def guided_backprop_unit(
    model: nn.Module,
    variables: Any,
    images: Any,
    layer: str,
    channels: Any,
    positions: Any = None,
) -> UnitProjection:
    """Returns guided backpropagation from one unit for each image, times its activation.

    Arguments and errors are those of `deconvnet_unit`.
    """
    return project_unit("guided", model, variables, images, layer, channels, positions)
