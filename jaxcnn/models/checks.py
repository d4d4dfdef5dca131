"""Checks images, registered networks and fields, so that errors come early and in one line."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError, reason


def check_images(images: jax.Array, smallest: int = 1) -> None:
    """Raises `UserError` unless images are (N, H, W, C) with H and W at least `smallest`.

    Images of 1 or 3 rows with more than 16 columns and channels are reported as (N, C, H, W).
    """
    if images.ndim != 4:
        raise UserError(
            f"images have shape {images.shape}, the network takes (N, H, W, C): "
            "add the axis that is missing, for one image `images[None]`"
        )
    height, width, channels = images.shape[1:]
    if height in (1, 3) and min(width, channels) > 16:
        raise UserError(
            f"images are (N, H, W, C) and these have shape {images.shape}, which looks like"
            " (N, C, H, W): use `images.transpose(0, 2, 3, 1)`"
        )
    if min(height, width) < smallest:
        raise UserError(
            f"images are {height}x{width} and nothing would be left of them in the last stage: "
            f"this network takes {smallest}x{smallest} or larger"
        )


def check_classes(num_classes: Any) -> None:
    """Raises `UserError` unless `num_classes` is a non-negative integer."""
    whole = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
    if not whole or num_classes < 0:
        raise UserError(
            f"num_classes={num_classes!r}: give a whole number, 0 for the network without its"
            " classifier, or None for the paper's number"
        )


def check_constructor(
    name: str, constructor: Any, num_classes: int, input_size: tuple[int, int, int]
) -> None:
    """Checks the arguments of `register_model`; builds the network once.

    Raises:
      UserError: see `register_model`.
    """
    check_classes(num_classes)
    if len(input_size) != 3 or min(input_size) < 1:
        raise UserError(
            f"input_size={input_size} of {name}: give (H, W, C), for example (32, 32, 3)"
        )
    if not callable(constructor):
        raise UserError(f"{name} is no Flax module class, nor a function that returns a module")
    try:
        parameters: Mapping[str, Any] = inspect.signature(constructor).parameters
    except ValueError:  # many functions written in C
        parameters = {}
    others = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for field in ("num_classes", "dtype", "parent"):
        if field not in parameters and not others:
            raise UserError(
                f"{name} takes no {field}: register a Flax module class with the fields num_classes"
                " and dtype, or a function (**fields) that hands its fields on to such a class"
            )
    try:
        network = constructor(num_classes=num_classes, dtype=jnp.float32, parent=None)
    except TypeError as error:
        raise UserError(f"{name} cannot be built: {reason(error)}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{name} returns a {type(network).__name__} and no Flax module")
    if "train" not in inspect.signature(type(network).__call__).parameters:
        raise UserError(f"{name} takes no train: define __call__(self, images, train=False)")
