"""Arrays on a mesh with explicit axes, whose types say how they are sharded."""

import jax


def is_explicit(*arrays: jax.Array) -> bool:
    """Tells whether the types of arrays say how they are sharded.

    Then the type of every result must follow from those of its operands. It does for the plain
    operations of `jax.lax`, not for the slices and products that are faster on one device.
    """
    return any(jax.typeof(x).sharding.mesh.explicit_axes for x in arrays)
