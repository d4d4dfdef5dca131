"""Prevents XLA:CPU from recomputing an array in every kernel that reads it."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla


@jax.named_scope("barrier")
def materialize_on_cpu(x: jax.Array) -> jax.Array:
    """Returns x; kernels on the CPU that read the result do not recompute it.

    XLA:CPU fuses cheap element-wise operations into every kernel that reads them: the nine taps of
    a depthwise convolution into the sums of a normalisation, a concatenation into all readers in a
    dense block. It removes `jax.lax.optimization_barrier` before fusion. A `while_loop` acts as a
    fusion barrier. This one runs zero iterations, but XLA cannot prove that at compile time.

    Other platforms return x unchanged. Reverse mode passes gradients unchanged. Forward mode
    (`jax.jvp`) needs `JAXCNN_OPS=xla` in the environment, which omits the loop.

    Args:
      x: floating-point array.
    """
    if plain_xla() or not x.size or is_explicit(x):
        return x
    return _materialized(x)


@jax.custom_vjp
def _materialized(x: jax.Array) -> jax.Array:
    return lax.platform_dependent(x, cpu=_hidden, default=lambda x: x)


def _hidden(x: jax.Array) -> jax.Array:
    # False for every number, also infinite ones and NaN. `debug_nans` does not stop here, and XLA
    # cannot simplify this condition, unlike `abs(x) < 0`.
    first = x.ravel()[0]
    never = (first > 1) & (first < -1)

    def again(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jnp.bool(False), state[1] + state[1]

    return lax.while_loop(lambda state: state[0], again, (never, x))[1]


_materialized.defvjp(lambda x: (_materialized(x), None), lambda _, of_x: (of_x,))
