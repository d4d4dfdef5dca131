"""Sums that XLA:CPU vectorises and spreads over threads: over pixels of a batch, of squares."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla

# `lax.add` and not `+`, which for hundreds of terms takes a tenth of the time of tracing a network.
SMALL = 2**16  # values; their sum takes 0.2 ms in any order, less than a longer compilation
TERMS = 14  # most that are added at a time; 16 strided slices take up to four times as long
PARTS = 16  # of a flat array, with aligned starts
JOINED = 2**18  # copying fewer values to others is faster than compiling a kernel for them

Term = Callable[..., jax.Array]
Terms = Callable[..., tuple[jax.Array, ...]]


def sum_over_pixels(term: Term, *arrays: jax.Array) -> jax.Array:
    """Sums term(*arrays) over all axes but the last, in at least float32.

    On the CPU it adds slices, which XLA vectorises and spreads over threads. XLA does neither for
    the sum of an array over leading axes, which takes 7 times as long.

    Args:
      term: element-wise function of arrays. It gets parts of them, with the same rank, in at least
        float32, and may also use arrays (1, …, C).
      *arrays: (…, C), all of the same shape.
    """
    return sums_over_pixels(lambda *arrays: (term(*arrays),), *arrays)[0]


def sums_over_pixels(terms: Terms, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns `sum_over_pixels` of several terms, which `terms` returns together."""

    def at_once(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        axes = range(arrays[0].ndim - 1)
        return tuple(jnp.sum(each, axes) for each in terms(*map(wide, arrays)))

    usual = arrays[0].ndim == 4 and arrays[0].size >= SMALL
    if plain_xla() or not usual or is_explicit(*arrays):
        return at_once(*arrays)
    return lax.platform_dependent(
        *arrays, cpu=lambda *arrays: _by_slices(terms, arrays), default=at_once
    )


def _by_slices(terms: Terms, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    arrays = tuple(map(wide, arrays))
    rows = arrays[0].shape[1]
    step = -(-rows // TERMS)
    whole = rows - rows % step
    sums = []
    for first, last, size in ((0, whole, step), (whole, rows, 1)):
        starts = range(first, last, size)
        slices = [[lax.slice_in_dim(x, i, i + size, axis=1) for x in arrays] for i in starts]
        if slices:
            sums.append(_sum_of_slices([terms(*each) for each in slices]))
    return tuple(reduce(lax.add, each) for each in zip(*sums, strict=True))


def _sum_of_slices(slices: Sequence[tuple[jax.Array, ...]]) -> list[jax.Array]:
    """Returns the sum of each term over all slices."""
    parts = materialize_on_cpu([reduce(lax.add, each) for each in zip(*slices, strict=True)])
    if parts[0].size >= SMALL and len(parts[0]) <= 64:
        images = (jnp.split(part, len(part)) for part in parts)
        parts = materialize_on_cpu([reduce(lax.add, each) for each in images])
    return [part.sum((0, 1, 2)) for part in parts]


def norm(tree: Any) -> jax.Array:
    """Returns the Euclidean norm of all numbers of a tree, a scalar in at least float32.

    On the CPU it adds slices: XLA squares a large array into another and adds up small windows of
    it, which takes 80 ms for 38 million numbers, slices take 4. Small arrays are concatenated
    first, which for Inception-ResNet v2 leaves 260 of 2,100 kernels and 1 of the 5 s of their
    compilation.
    """
    leaves = [wide(x) for x in jax.tree.leaves(tree)]

    def squares(*leaves: jax.Array) -> Any:
        return sum(jnp.sum(lax.square(x)) for x in leaves)

    def of_large(x: jax.Array) -> jax.Array:
        x, total = x.ravel(), jnp.zeros((), x.dtype)
        term: Term = lax.square
        while x.size >= SMALL:
            whole = x.size - x.size % PARTS
            total += term(x[whole:]).sum()
            x, term = reduce(lax.add, map(term, jnp.split(x[:whole], PARTS))), lambda part: part
        return total + term(x).sum()

    def by_slices(*leaves: jax.Array) -> Any:
        large = [x for x in leaves if x.size >= JOINED]
        small = [x.ravel() for x in leaves if x.size < JOINED]
        if small:
            large.append(materialize_on_cpu(jnp.concatenate(small)))
        return sum(map(of_large, large))

    if plain_xla() or sum(x.size for x in leaves) < SMALL or is_explicit(*leaves):
        return jnp.sqrt(squares(*leaves))
    return jnp.sqrt(lax.platform_dependent(*leaves, cpu=by_slices, default=squares))


def wide(x: jax.Array) -> jax.Array:
    """Returns x in at least float32, the dtype for sums."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
