"""Detects arrays on a mesh with explicit axes, whose types include their sharding."""

import jax


def is_explicit(*arrays: jax.Array) -> bool:
    """Returns whether the types of arrays include their sharding.

    JAX must then infer the type of every result from its operands. It can do so for the plain
    operations of `jax.lax`, but not for the slices and products that are faster on one device.
    """
    return any(jax.typeof(x).sharding.mesh.explicit_axes for x in arrays)
