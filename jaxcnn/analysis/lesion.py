"""Trained networks with some of their units removed.

Veit, Wilber and Belongie, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
2016, arXiv 1605.06431: a residual network hardly notices the loss of a unit at test time, a network
without shortcuts fails.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.residual import ResidualUnit
from jaxcnn.models.highway import HighwayUnit


class Lesioned(nn.Module):
    """A network without some of its units; it has the variables of the whole.

    Attributes:
      model: the whole network.
      units: paths of the removed units.
    """

    model: nn.Module
    units: tuple[str, ...]

    def setup(self) -> None:
        """Gives this module the variables of the network, under the same names."""
        nn.share_scope(self, self.model)

    def __call__(
        self, images: jax.Array, train: bool = False, removed: jax.Array | None = None
    ) -> jax.Array:
        """Returns the output of the network without the removed units.

        Args:
          images: (N, H, W, C).
          train: whether the network is in training mode.
          removed: booleans [number of units], which of them are removed; None is all. One compiled
            program then serves all choices.
        """
        seen = set()
        index = {path: number for number, path in enumerate(self.units)}

        def remove(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            path = "/".join(module.path)
            if path not in self.units or context.method_name != _removed_method(module):
                return call(*args, **kwargs)
            seen.add(path)
            y = call(*args, **kwargs)
            if context.method_name == "residual":
                without = jnp.zeros_like(y)
            elif y.shape == args[0].shape:
                without = args[0].astype(y.dtype)
            else:
                raise UserError(
                    f"{path} changes the shape from {args[0].shape} to {y.shape} and has no "
                    "shortcut: without it nothing fits"
                )
            return without if removed is None else jnp.where(removed[index[path]], without, y)

        with nn.intercept_methods(remove):
            y = self.model(images, train)
        for unit in self.units:
            if unit not in seen:
                known = removable(self.model.clone(parent=None), images.shape[1:])
                raise UserError(f"no unit {unit!r} to remove: {nearest(unit, known)}")
        return y


def lesioned(model: nn.Module, units: Sequence[str]) -> nn.Module:
    """Returns a network without some units, to be applied to the variables of the whole.

    Of a unit with a shortcut that shortcut remains: its branch is multiplied by zero. Any other
    module, such as a highway unit, puts out what it is given, so it must keep the shape. A layer
    that is no module of its own goes in parts: VGG's "stage2/conv2", and "stage2/norm2" if there is
    one.

    Args:
      model: takes (images, train).
      units: their paths, such as "stage2/block3"; see `removable`. A call takes `removed` to choose
        among them.

    Raises:
      UserError: when applied, for a path that is not there or that cannot be removed.
    """
    return Lesioned(model, tuple(units))


def removable(
    model: nn.Module, input_shape: Sequence[int], *, keeping_shape: bool = False
) -> list[str]:
    """Returns the paths of the units that `lesioned` can remove, in the order of their use.

    These are the residual or highway units, or the convolutions of a network that has none; without
    shortcuts only those that keep the shape. Nothing is computed.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C) of an image.
      keeping_shape: whether to return only units that keep the shape, as if none had a shortcut.
    """
    units: list[str] = []
    convolutions: list[str] = []

    def collect(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        y, module = call(*args, **kwargs), context.module
        if context.method_name == "__call__" and isinstance(
            module, ResidualUnit | HighwayUnit | nn.Conv
        ):
            paths = convolutions if isinstance(module, nn.Conv) else units
            has_shortcut = _removed_method(module) == "residual" and not keeping_shape
            removed = has_shortcut or y.shape == args[0].shape
            paths.extend(["/".join(module.path)] * removed)
        return y

    with nn.intercept_methods(collect):
        images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
        jax.eval_shape(model.init, jax.random.key(0), images)
    return units or convolutions


def _removed_method(module: nn.Module) -> str:
    """Returns the method whose result goes when a module is removed."""
    has_shortcut = isinstance(module, ResidualUnit) and module.shortcut != "none"
    return "residual" if has_shortcut else "__call__"
