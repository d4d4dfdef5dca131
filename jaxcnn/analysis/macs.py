"""Multiply-adds of a network, read off its traced program.

They are what the papers call FLOPs: one for every product in a convolution or a dense layer, and
nothing for biases, normalisation, activations and pooling.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jaxcnn.errors import UserError

MARK = "@"  # around a module's path in the names of the operations traced within it


@overload
def count_macs(
    model: nn.Module, input_shape: Sequence[int], per_layer: Literal[False] = False
) -> int: ...


@overload
def count_macs(
    model: nn.Module, input_shape: Sequence[int], per_layer: Literal[True]
) -> dict[str, int]: ...


def count_macs(
    model: nn.Module, input_shape: Sequence[int], per_layer: bool = False
) -> int | dict[str, int]:
    """Returns the multiply-adds of convolutions and dense layers at test time, for one image.

    Exact. Nothing is computed or allocated: the network is traced on shapes. A convolution counts
    output values times kernel values per output, padding included, however it is computed on this
    machine. Of branches the most expensive counts. What runs in training only, as auxiliary heads
    do, does not count.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C) of an image.
      per_layer: return a dictionary instead, from the path of a module ("stage1/block1/conv1") to
        the multiply-adds of its own, in the order of use. Modules that multiply nothing are left
        out; what belongs to no submodule is under "".

    Raises:
      UserError: if the network takes no such images, or multiplies in a loop of unknown length.
    """
    if getattr(model, "scan_units", False):  # DenseNet's loop multiplies by zeros, too
        model = model.clone(scan_units=False)
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    with nn.intercept_methods(_marked):
        program = jax.make_jaxpr(model.apply)(variables, images)
    counts = _count(program.jaxpr, "")
    return dict(counts) if per_layer else counts.total()


def _marked(
    method: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    """Runs a module's method under its path, which names every operation in the program.

    Flax's own names would not do: they follow the calls, so a method or a call into a grandchild
    changes them.
    """
    with jax.named_scope(MARK + "/".join(context.module.path) + MARK):
        return method(*args, **kwargs)


def _count(jaxpr: Jaxpr, outer: str) -> Counter[str]:
    """Returns multiply-adds by path; `outer` is that of the operation which holds the program."""
    counts: Counter[str] = Counter()
    for eqn in jaxpr.eqns:
        # What `nn.scan` leaves behind of a function that it tried out.
        if not (eqn.invars and eqn.outvars):
            continue
        paths = re.findall(f"{MARK}([^{MARK}]*){MARK}", str(eqn.source_info.name_stack))
        counts.update(_count_equation(eqn, paths[-1] if paths else outer))
    return counts


def _count_equation(eqn: JaxprEqn, path: str) -> Counter[str]:
    if (macs := _macs(eqn)) is not None:
        return Counter({path: macs})
    kind = eqn.primitive.name
    parts = [_count(inner, path) for inner in jaxprs_in_params(eqn.params)]
    if kind == "cond":
        parts = [max(parts, key=Counter.total)]
    if kind == "while" and any(parts):
        raise UserError(
            f"{path or 'the network'} multiplies in a while loop, whose length is not known "
            "before it runs: use `lax.scan`, or `lax.fori_loop` with constant bounds"
        )
    times = eqn.params["length"] if kind == "scan" else 1
    counts: Counter[str] = Counter()
    for part in parts:
        for inner_path, number in part.items():
            counts[inner_path] += times * number
    return counts


def of_equation(eqn: JaxprEqn) -> int:
    """Returns the multiply-adds of one equation of a traced program, for the traced batch."""
    return _count_equation(eqn, "").total()


def convolution_of(eqn: JaxprEqn) -> JaxprEqn | None:
    """Returns the convolution of XLA that an equation is or stands for; None if it is none."""
    if eqn.primitive.name == "conv_general_dilated":
        return eqn
    if eqn.params.get("name") == "conv_general_dilated":
        inside = (inner for jaxpr in jaxprs_in_params(eqn.params) for inner in _convolutions(jaxpr))
        return next((inner for inner in inside if _shapes(inner) == _shapes(eqn)), None)
    return None


def _macs(eqn: JaxprEqn) -> int | None:
    """Returns the multiply-adds of an operation; None if the operations inside are counted."""
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        lhs, _, out = _shapes(eqn)
        return math.prod(out) * math.prod(lhs[axis] for axis in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        axes = eqn.params["dimension_numbers"].rhs_spec
        if any(step > 1 for step in eqn.params["lhs_dilation"]):  # transposed: no work for zeros
            pixels, kernel, _ = _shapes(eqn)
            groups = eqn.params["feature_group_count"]
            return math.prod(pixels) * math.prod(kernel) // (kernel[axes[1]] * groups)
        return _convolution(eqn, axes[0])
    if eqn.params.get("name") == "conv_general_dilated":  # that of `jaxcnn.ops.conv`
        inside = [inner for jaxpr in jaxprs_in_params(eqn.params) for inner in _convolutions(jaxpr)]
        for inner in inside:
            if _shapes(inner) == _shapes(eqn):
                return _macs(inner)
        # Without the reference among its branches: kernels as `nn.Conv` has them. Under `vmap` the
        # shapes at the boundary are not those of a convolution, and what is within counts.
        return None if inside else _convolution(eqn, -1)
    return None


def _convolution(eqn: JaxprEqn, features_axis: int) -> int:
    _, kernel, out = _shapes(eqn)
    return math.prod(out) * math.prod(kernel) // kernel[features_axis]


def _convolutions(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from _convolutions(inner)


def _shapes(eqn: JaxprEqn) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of two operands and of the result."""
    arrays: Any = (*eqn.invars[:2], eqn.outvars[0])
    return tuple(array.aval.shape for array in arrays)
