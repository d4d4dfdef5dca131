"""Multiplies few rows with a large matrix, as in the dense layers of AlexNet and VGG."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla

LARGE = 2**22  # numbers in a matrix that is read from memory
FEW = 64  # rows; with more, the product itself takes longer
CHUNK = 256  # rows of the matrix per chunk


def dot_general(
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: Any = None,
) -> jax.Array:
    """Multiplies as `jax.lax.dot_general` does: same arguments, shapes, dtypes, errors.

    A drop-in for `nn.Dense(dot_general=…)`. On the CPU, for few rows and a large matrix, the
    gradient is computed in chunks of the matrix: 16 ms instead of 27 for 16 rows and 9216 x 4096
    (two cores, jax 0.10.1). Forward mode (`jax.jvp`) of such products needs `JAXCNN_OPS=xla` in the
    environment, on any platform; see `jaxcnn.ops.switch`.
    """
    fits = (
        not plain_xla()
        and dimension_numbers == (((1,), (0,)), ((), ()))
        and lhs.ndim == rhs.ndim == 2
        and lhs.dtype == rhs.dtype
        and not is_explicit(lhs, rhs)
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and isinstance(lhs.shape[0], int)  # symbolic in a program for any batch size
        and lhs.shape[0] <= FEW
        and rhs.size >= LARGE
        and len(rhs) % CHUNK == 0
        and precision is preferred_element_type is out_sharding is None
    )
    if fits:
        return _product(lhs, rhs)
    return lax.dot_general(
        lhs,
        rhs,
        dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )


@jax.custom_vjp
def _product(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    return rows @ matrix


def _forward(rows: jax.Array, matrix: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(rows, matrix), (rows, matrix)


def _backward(saved: tuple[jax.Array, jax.Array], output: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, matrix = saved

    def by_chunks(output: jax.Array, matrix: jax.Array) -> jax.Array:
        chunks = matrix.reshape(-1, CHUNK, matrix.shape[1])
        of_rows = lax.map(lambda chunk: output @ chunk.T, chunks)
        return of_rows.swapaxes(0, 1).reshape(rows.shape)

    of_rows = lax.platform_dependent(
        output, matrix, cpu=by_chunks, default=lambda output, matrix: output @ matrix.T
    )
    return of_rows, rows.T @ output


_product.defvjp(_forward, _backward)
