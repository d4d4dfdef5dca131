"""Runs equal submodules in a loop, so that XLA compiles one of them instead of all."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def apply_scanned(
    parent: nn.Module,
    unit: Callable[[Any], nn.Module],
    names: Sequence[str],
    x: jax.Array,
    each: Any = None,
) -> jax.Array:
    """Applies the submodules `names` of a module one after another, by `jax.lax.scan`.

    Their variables keep their names and are stacked during the call; changed variables are written
    back. Intermediate values cannot be captured, and there are no rngs.

    Args:
      parent: the initialised and bound module, from its `__call__`.
      unit: element of `each` → an unbound submodule.
      names: submodules whose variables have the same names, shapes and dtypes.
      x: input of the first submodule; outputs have the same shape and dtype.
      each: tree of arrays [len(names), …], or None.
    """
    updated = _updated(parent)

    def apply_unit(x: jax.Array, of_unit: tuple[Any, Any]) -> tuple[jax.Array, Any]:
        variables, own = of_unit
        return unit(own).apply(variables, x, mutable=updated)

    x, changed = jax.lax.scan(apply_unit, x, (_stacked(parent, names), each))
    _put_back(parent, names, changed)
    return x


def grow_scanned(
    parent: nn.Module, unit: Callable[[], nn.Module], names: Sequence[str], x: jax.Array
) -> jax.Array:
    """Applies submodules whose input is x and all previous outputs, concatenated as channels.

    It works like `apply_scanned`, but the variables may grow with the channels. They are padded
    with zeros to the largest size, and channels of later outputs are zeros. In these submodules,
    channels whose variables are zeros must not change the output. The loop computes about twice as
    much as separate layers.

    Args:
      parent: the initialised and bound module, from its `__call__`.
      unit: returns an unbound submodule.
      names: names of submodules.
      x: (…, C).

    Returns:
      x and the outputs, (…, C + channels of the outputs).
    """
    updated, stacked = _updated(parent), _stacked(parent, names)
    first = {kind: parent.variables[kind][names[0]] for kind in stacked}
    output = jax.eval_shape(lambda: unit().apply(first, x, mutable=updated)[0])
    grown = output.shape[-1]
    seen = x.shape[-1] + (len(names) - 1) * grown  # input channels of the last one
    rest = jnp.zeros((*x.shape[:-1], len(names) * grown), x.dtype)

    def apply_unit(x: jax.Array, of_unit: tuple[Any, jax.Array]) -> tuple[jax.Array, Any]:
        variables, start = of_unit
        y, changed = unit().apply(variables, x[..., :seen], mutable=updated)
        return jax.lax.dynamic_update_slice_in_dim(x, y.astype(x.dtype), start, -1), changed

    starts = x.shape[-1] + grown * jnp.arange(len(names))
    x, changed = jax.lax.scan(apply_unit, jnp.concatenate([x, rest], -1), (stacked, starts))
    _put_back(parent, names, changed)
    return x


def _updated(parent: nn.Module) -> list[str]:
    """Returns the collections that submodules may change."""
    return [kind for kind in parent.variables if parent.is_mutable_collection(kind)]


def _stacked(parent: nn.Module, names: Sequence[str]) -> dict[str, Any]:
    """Returns submodules' variables stacked along a new first axis, padded to the last's size."""

    def stack(*leaves: jax.Array) -> jax.Array:
        sizes = leaves[-1].shape
        more = ([(0, n - m) for n, m in zip(sizes, x.shape, strict=True)] for x in leaves)
        return jnp.stack([jnp.pad(x, pad) for x, pad in zip(leaves, more, strict=True)])

    return {
        kind: jax.tree.map(stack, *map(of_unit.get, names))
        for kind, of_unit in parent.variables.items()
        if names[0] in of_unit
    }


def _put_back(parent: nn.Module, names: Sequence[str], changed: Any) -> None:
    """Writes variables that a loop changed back to the submodules, in their own shapes."""
    for kind, of_units in changed.items():
        for i, name in enumerate(names):

            def own(old: jax.Array, new: jax.Array, i: int = i) -> jax.Array:
                return new[i][tuple(map(slice, old.shape))]

            before = parent.variables[kind][name]
            parent.put_variable(kind, name, jax.tree.map(own, before, of_units))
