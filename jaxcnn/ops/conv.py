"""The one boundary that every convolution of the zoo passes.

In a traced program it stays a function of its own (an inner `jit`, which XLA inlines): whatever
counts multiply-adds finds the convolution as the network asked for it, and a faster lowering for a
platform can take its place without a network knowing.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Convolves as `jax.lax.conv_general_dilated` does: same arguments, shapes, dtypes, errors."""
    return _convolution(
        lhs,
        rhs,
        window_strides=_hashable(window_strides),
        padding=_hashable(padding),
        lhs_dilation=_hashable(lhs_dilation),
        rhs_dilation=_hashable(rhs_dilation),
        dimension_numbers=_hashable(dimension_numbers),
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=_hashable(precision),
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )


# What traced programs show as `conv_general_dilated`, with a body of its own.
_convolution = jax.jit(
    lax.conv_general_dilated,
    static_argnames=(
        "window_strides",
        "padding",
        "lhs_dilation",
        "rhs_dilation",
        "dimension_numbers",
        "feature_group_count",
        "batch_group_count",
        "precision",
        "preferred_element_type",
        "out_sharding",
    ),
)


def _hashable(argument: Any) -> Any:
    return tuple(map(_hashable, argument)) if isinstance(argument, list) else argument
