"""Hints to XLA about what to compute once."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla


@jax.named_scope("barrier")
def materialize_on_cpu(x: jax.Array) -> jax.Array:
    """Returns x; on the CPU no kernel that reads it computes it again.

    XLA:CPU fuses what is cheap for each element into every kernel that reads it: the nine taps of a
    depthwise convolution into the sums of a normalisation, a concatenation into all that follow in
    a dense block. It drops `jax.lax.optimization_barrier` before it does so. A loop stops it: this
    one has no turn, which shows at run time only.

    Accelerators keep the choice. Reverse mode passes gradients on as they are. Forward mode
    (`jax.jvp`) needs `JAXCNN_OPS=xla` in the environment, which leaves the loop out.

    Args:
      x: floating-point numbers.
    """
    if plain_xla() or not x.size or is_explicit(x):
        return x
    return _materialized(x)


@jax.custom_vjp
def _materialized(x: jax.Array) -> jax.Array:
    return lax.platform_dependent(x, cpu=_hidden, default=lambda x: x)


def _hidden(x: jax.Array) -> jax.Array:
    # True of no number, infinite ones and NaN included. `debug_nans` does not stop at it, and XLA
    # does not know that it is false, as it knows of `abs(x) < 0`.
    first = x.ravel()[0]
    never = (first > 1) & (first < -1)

    def again(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jnp.bool(False), state[1] + state[1]

    return lax.while_loop(lambda state: state[0], again, (never, x))[1]


_materialized.defvjp(lambda x: (_materialized(x), None), lambda _, of_x: (of_x,))
