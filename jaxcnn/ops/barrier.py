"""Prevents XLA:CPU from recomputing an array in every kernel that reads it."""

from functools import partial
from typing import TypeVar

import jax
from jax import lax

from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla

T = TypeVar("T")
# XLA:CPU removes `jax.lax.optimization_barrier` before fusion up to jax 0.11.0.
XLA_KEEPS_BARRIERS = jax.__version_info__ >= (0, 11, 1)


@jax.named_scope("barrier")
def materialize_on_cpu(x: T, *, gradient: bool = False) -> T:
    """Returns x; kernels on the CPU that read the result do not recompute it.

    XLA:CPU fuses cheap element-wise operations into every kernel that reads them: the nine taps of
    a depthwise convolution into the sums of a normalisation, a concatenation into all readers in a
    dense block. `jax.lax.optimization_barrier` prevents this. Where XLA removes it (see
    `XLA_KEEPS_BARRIERS`), a `while_loop` does. It runs zero iterations, but XLA cannot prove that
    at compile time. Arrays that are given together share a loop, which compiles sooner than two.

    Other platforms return x unchanged. Forward mode (`jax.jvp`) needs `JAXCNN_OPS=xla` in the
    environment, which omits both.

    Args:
      x: floating-point array, or a tree of them.
      gradient: whether its gradient is not recomputed either. Where layers add to what they take,
        that is a sum over all later layers, which otherwise every reader computes again.
    """
    arrays = jax.tree.leaves(x)
    if plain_xla() or not all(array.size for array in arrays) or is_explicit(*arrays):
        return x
    return _materialized(x, gradient)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _on_cpu(x: T, gradient: bool) -> T:
    return lax.platform_dependent(x, cpu=_hidden, default=lambda x: x)


def never(x: jax.Array) -> jax.Array:
    """Returns False in a form that XLA cannot simplify, unlike `abs(x) < 0`.

    It is False also where x is infinite or NaN, and `debug_nans` does not stop here.

    Args:
      x: floating-point array; only its first number is read.
    """
    first = x.ravel()[0]
    return (first > 1) & (first < -1)


def _hidden(x: T) -> T:
    if XLA_KEEPS_BARRIERS:
        return lax.optimization_barrier(x)

    def again(x: T) -> T:
        return jax.tree.map(lambda array: array + array, x)

    return lax.while_loop(lambda x: never(jax.tree.leaves(x)[0]), again, x)


def _backward(gradient: bool, saved: None, of_x: T) -> tuple[T]:
    return (_materialized(of_x, False) if gradient else of_x,)


_on_cpu.defvjp(lambda x, gradient: (_on_cpu(x, gradient), None), _backward)
_materialized = jax.jit(_on_cpu, static_argnums=1)  # traced once for each shape; XLA inlines it
