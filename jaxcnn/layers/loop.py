"""Equal submodules in a loop, which compiles one of them instead of all."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def apply_in_loop(
    parent: nn.Module,
    unit: Callable[[Any], nn.Module],
    names: Sequence[str],
    x: jax.Array,
    each: Any = None,
) -> jax.Array:
    """Applies the submodules `names` of a module one after another, by `jax.lax.scan`.

    Their variables stay where they are and are stacked for the time of the call; those that the
    submodules change are written back. Inner values cannot be captured, and there are no rngs.

    Args:
      parent: the module, initialised and bound, from its `__call__`.
      unit: makes an unbound submodule of what `each` has for it.
      names: of submodules whose variables have the same names, shapes and dtypes.
      x: of the first submodule; what they return has its shape and dtype.
      each: tree of arrays [len(names), …], or None.
    """
    updated = [kind for kind in parent.variables if parent.is_mutable_collection(kind)]
    stacked = {
        kind: jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(of_unit.get, names))
        for kind, of_unit in parent.variables.items()
        if names[0] in of_unit
    }

    def apply_unit(x: jax.Array, of_unit: tuple[Any, Any]) -> tuple[jax.Array, Any]:
        variables, own = of_unit
        return unit(own).apply(variables, x, mutable=updated)

    x, changed = jax.lax.scan(apply_unit, x, (stacked, each))
    for kind, of_units in changed.items():
        for i, name in enumerate(names):
            parent.put_variable(kind, name, jax.tree.map(lambda leaf, i=i: leaf[i], of_units))
    return x
