"""A row of the registry, and what a user's own network must be like to become one."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError, reason


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of `MODELS`.

    Attributes:
      constructor: returns the network, given fields of it in place of the row's.
      num_classes: of the data set of the paper.
      input_size: (H, W, C) of the published results.
      aliases: other names that find the row.
    """

    constructor: Callable[..., nn.Module]
    num_classes: int
    input_size: tuple[int, int, int]
    aliases: tuple[str, ...] = ()


def check_classes(num_classes: Any) -> None:
    """Raises `UserError` unless it is a whole number from 0 on."""
    whole = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
    if not whole or num_classes < 0:
        raise UserError(
            f"num_classes={num_classes!r}: give a whole number, 0 for the network without its"
            " classifier, or None for the paper's number"
        )


def new_entry(
    name: str, constructor: Any, num_classes: int, input_size: tuple[int, int, int]
) -> Entry:
    """Returns a row of `MODELS` for a user's own network, which is built once to check it.

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
    except ValueError:  # many functions that are written in C
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
    return Entry(constructor, num_classes, input_size)
