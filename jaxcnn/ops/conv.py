"""The convolution function that all networks call.

In a traced program it stays a separate function (an inner `jit`, which XLA inlines). Tools that
count multiply-adds therefore find the original convolution, while on the CPU faster formulas with
the same results replace it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops import conv_cpu
from jaxcnn.ops.conv_cpu_grad import LAYOUT
from jaxcnn.ops.sharding import is_explicit
from jaxcnn.ops.switch import plain_xla
from jaxcnn.ops.windows import Window

Lowering = Callable[[jax.Array, jax.Array], jax.Array]


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
    """Convolves as `jax.lax.conv_general_dilated` does: same arguments, shapes, dtypes, errors.

    On the CPU, convolutions of (N, H, W, C) images and (h, w, I, O) kernels use our own formulas,
    equal up to rounding. They compose with jit, vmap, pmap, `jax.grad` of any order, loops and
    `jax.checkpoint`. Forward mode (`jax.jvp`, `jax.hessian`) needs `JAXCNN_OPS=xla` in the
    environment, on any platform; see `jaxcnn.ops.switch`.
    """
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


def _lowered(lhs: jax.Array, rhs: jax.Array, **arguments: Any) -> jax.Array:
    reference: Lowering = partial(lax.conv_general_dilated, **arguments)
    jax.eval_shape(reference, lhs, rhs)  # JAX raises its own errors here
    plain = plain_xla() or is_explicit(lhs, rhs)
    faster = None if plain else _faster_on_cpu(lhs, rhs, **arguments)
    return reference(lhs, rhs) if faster is None else _by_platform(faster, reference, lhs, rhs)


# Default values, other than None, of options that our networks do not use.
USUAL: dict[str, tuple[Any, ...]] = {"lhs_dilation": ((), (1, 1)), "batch_group_count": (1,)}


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _by_platform(
    on_cpu: Lowering, elsewhere: Lowering, lhs: jax.Array, rhs: jax.Array
) -> jax.Array:
    """Convolves by the platform's formula.

    The rule for the gradient also selects the formula once the platform is known. JAX would select
    it at run time instead, and convolutions in such a conditional take XLA:CPU 50 times as long.

    Accelerators use XLA's convolution and would not need this rule, which has no forward mode. But
    a program is traced and differentiated before its platform is known, so it applies there too.
    """
    return lax.platform_dependent(lhs, rhs, cpu=on_cpu, default=elsewhere)


def _by_platform_forward(
    on_cpu: Lowering, elsewhere: Lowering, lhs: jax.Array, rhs: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _by_platform(on_cpu, elsewhere, lhs, rhs), (lhs, rhs)


def _by_platform_backward(
    on_cpu: Lowering, elsewhere: Lowering, saved: tuple[jax.Array, jax.Array], output: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def gradient(convolve: Lowering) -> Callable[..., tuple[jax.Array, jax.Array]]:
        return lambda lhs, rhs, output: jax.vjp(convolve, lhs, rhs)[1](output)

    return lax.platform_dependent(*saved, output, cpu=gradient(on_cpu), default=gradient(elsewhere))


_by_platform.defvjp(_by_platform_forward, _by_platform_backward)


def _faster_on_cpu(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None,
    dimension_numbers: Any,
    feature_group_count: int,
    **rare: Any,
) -> Lowering | None:
    """Selects a formula by shape; None uses XLA, for layouts and options that no network here uses.

    Time in ms of value and both gradients together, 16 images in float32, on one core with AVX-512,
    jax 0.10.1, before `conv_cpu_grad`, which has its own table for ordinary convolutions:

    | kernel                              | XLA   | here | PyTorch 2.13 |
    |-------------------------------------|------:|-----:|-------------:|
    | 1x1, 256 to 64 channels, 56x56      |   157 |   95 |           77 |
    | 1x1/2, 256 to 512, 56x56            |   557 |  130 |          123 |
    | 3x3 depthwise, 256, 28x28           |   371 |   18 |           11 |
    | 3x3/2 depthwise, 256, 28x28         |   329 |    5 |            5 |
    | 3x3 in 32 groups, 512, 14x14        | 7,549 |   44 |           17 |
    | 5x5 in 2 groups, 96 to 256, 27x27   | 1,410 |  222 |          185 |
    | two 3x3, 16, 32x32, in `lax.scan`   |   901 |   32 |            - |

    and on two cores, with 64 images:

    | 3x3, 512, 2x2                       | 3,140 |   29 |            - |
    """
    layout = partial(lax.conv_dimension_numbers, lhs.shape, rhs.shape)
    ordinary = (
        lhs.ndim == rhs.ndim == 4
        and layout(dimension_numbers) == layout(LAYOUT)
        and len(rhs_dilation or (1, 1)) == 2
        and all(value is None or value in USUAL.get(name, ()) for name, value in rare.items())
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
    )
    if not ordinary:
        return None
    (height, width, depth, features), groups = rhs.shape, feature_group_count
    dilation = tuple(rhs_dilation or (1, 1))
    if isinstance(padding, str):
        spans = [(n - 1) * d + 1 for n, d in zip((height, width), dilation, strict=True)]
        padding = lax.padtype_to_pads(lhs.shape[1:3], spans, window_strides, padding)
    pads = tuple((int(before), int(after)) for before, after in padding)
    if min(map(min, pads)) < 0 or lhs.shape[3] != groups * depth or features % groups:
        return None
    window = Window((height, width), tuple(window_strides), pads, dilation)
    if groups == 1 and (height, width) == (1, 1) and pads == ((0, 0), (0, 0)):
        return partial(conv_cpu.pointwise, window=window)
    if groups > 1 and depth == 1 and features == groups:
        return lambda image, kernel: conv_cpu.depthwise(image, kernel, window)  # takes no keywords
    if groups > 1:
        return partial(conv_cpu.grouped, window=window, groups=groups)
    return partial(conv_cpu.ungrouped, window=window)


# The name of this function in traced programs.
_lowered.__name__ = "conv_general_dilated"
_convolution = jax.jit(
    _lowered,
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
    """Converts lists and arrays, also within tuples, to tuples."""
    if isinstance(argument, np.ndarray | jax.Array):
        argument = np.asarray(argument).tolist()
    if isinstance(argument, list) or type(argument) is tuple:
        return tuple(map(_hashable, argument))
    return argument
