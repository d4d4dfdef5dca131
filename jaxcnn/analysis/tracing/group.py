"""Equations of a traced network, grouped to layers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from flax import linen as nn
from jax.extend.core import JaxprEqn, Literal, Var, jaxprs_in_params

from jaxcnn.analysis import macs
from jaxcnn.analysis.tracing.equations import Flat, Place, inside, program, shape_of

# Named where they are computed, in jaxcnn.ops and jaxcnn.layers.
OPERATIONS = ("max_pool", "avg_pool", "local_response_norm", "minus_distances")
ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "swish", "mish"),
    *("sigmoid", "softplus", "soft_sign", "hard_tanh", "hard_sigmoid", "hard_swish", "hard_silu"),
    *("log_sigmoid", "softmax", "log_softmax", "glu", "standardize"),
)
# They change the form of an array, or nothing, and belong to the layer that made it.
FORMS = (
    *("convert_element_type", "copy", "reduce_precision", "squeeze", "broadcast_in_dim"),
    *("expand_dims", "transpose", "stop_gradient", "optimization_barrier", "while"),
)
OF_SEVERAL = {"add": "add", "add_any": "add", "sub": "subtract", "mul": "multiply"} | {
    "max": "maximum",
    "div": "divide",
    "scatter-add": "add",
    "concatenate": "concatenate",
    "dot_general": "matmul",
}
CURVES = {"tanh": "tanh", "logistic": "sigmoid", "erf": "gelu"}
ELEMENTWISE = (
    *("tanh", "logistic", "exp", "log", "pow", "integer_pow", "sqrt", "rsqrt", "neg", "abs"),
    *("square", "mul", "add", "sub", "div", "max", "min", "select_n", "erf"),
)


@dataclasses.dataclass(eq=False)
class Group:
    """Equations that are computed together: a layer, or something about parameters alone.

    Attributes:
      is_node: whether it depends on the images, which makes it a layer.
      kind: of the layer.
      name: path of the module, or of the module around it and the kind.
      module: path of the module around it.
      detail: hyper-parameters.
      macs: multiply-adds for one image.
      program: the equations with their inputs and outputs.
      inputs: of the program.
      output: the main one of the outputs.
      sources: the layers whose outputs its first equation takes.
      is_module: whether `name` is the path of a module.
      activations: all values that depend on the images.
    """

    is_node: bool
    kind: str
    place: Place
    equations: list[JaxprEqn] = dataclasses.field(default_factory=list)
    name: str = ""
    module: str = ""
    detail: str = ""
    macs: int = 0
    program: Any = None
    inputs: tuple[Any, ...] = ()
    output: Any = None
    is_module: bool = False
    sources: tuple["Group", ...] = ()
    activations: Set[Var] = frozenset()


def group_equations(flat: Flat, images: Var, modules: Mapping[str, nn.Module]) -> list[Group]:
    """Returns the groups of a program in the order of computation.

    Args:
      flat: the program.
      images: its input that makes an equation a part of a layer.
      modules: by their paths.
    """
    leaves = _leaves(modules)
    of_var: dict[Var, Group] = {}  # layers by their outputs
    latest: dict[Any, Group] = {}  # layer by the call of its module, or by the place of its kind
    order: dict[Group, int] = {}  # a layer is computed where its last equation is
    moving, used = {images}, set[Group]()  # layers whose outputs another one has taken
    for number, (eqn, place) in enumerate(flat.equations):
        active = [var for var in eqn.invars if isinstance(var, Var) and var in moving]
        if not active:
            order[Group(False, "", place, [eqn])] = number
            continue
        moving.update(eqn.outvars)
        in_leaf = place.path in leaves
        producers = list(dict.fromkeys(of_var[var] for var in active if var in of_var))
        kind = _kind(eqn, place, active, in_leaf)
        group = _continued(eqn, kind, place, producers, latest, in_leaf)
        if group is None or group in used:
            group = Group(True, kind or eqn.primitive.name, place, sources=tuple(producers))
        latest[place.path, place.call] = latest[place, kind] = group
        order[group] = number
        used.update(one for one in producers if one is not group)
        group.equations.append(eqn)
        of_var.update(dict.fromkeys(eqn.outvars, group))
    groups = sorted(order, key=lambda group: order[group])
    _close(groups, flat, moving, modules, leaves)
    return groups


def _leaves(modules: Mapping[str, nn.Module]) -> set[str]:
    """Returns the paths of modules without submodules."""
    inner = {path.rpartition("/")[0] for path in modules if path}
    return {path for path in modules if path and path not in inner}


def _kind(eqn: JaxprEqn, place: Place, active: Sequence[Var], in_leaf: bool) -> str:
    """Returns the kind of a layer that an equation begins; "" if it is nothing special.

    Within a module without submodules only activations, pools and LRN are layers of their own.
    """
    for operation in place.scope:
        if operation in OPERATIONS:
            return operation
    primitive, name = eqn.primitive.name, str(eqn.params.get("name", ""))
    if primitive.startswith("custom_jvp") or primitive in ("jit", "pjit"):
        names = [name, *(str(one.params.get("name", "")) for one in _inner(eqn))]
        return next((one for one in names if one in ACTIVATIONS), "")
    pools = {"reduce_window_max": "max_pool", "reduce_window_sum": "avg_pool"}
    if primitive in pools:
        return pools[primitive]
    if primitive == "max" and any(_is_zero(one) for one in eqn.invars):
        return "relu"
    if in_leaf:
        return ""
    if primitive in ("conv_general_dilated", "dot_general") and len(active) == 1:
        return "conv" if primitive == "conv_general_dilated" else "dense"
    over_space = {"reduce_sum": "global_avg_pool", "reduce_max": "global_max_pool"}
    if primitive in over_space and _over_space(eqn):
        return over_space[primitive]
    if primitive == "reshape" and _flattens(eqn):
        return "flatten"
    if primitive in OF_SEVERAL and len(active) > 1:
        return OF_SEVERAL[primitive]
    return primitive if primitive in ("pad", "slice") else ""


def _continued(
    eqn: JaxprEqn,
    kind: str,
    place: Place,
    producers: Sequence[Group],
    latest: Mapping[Any, Group],
    in_leaf: bool,
) -> Group | None:
    """Returns the layer to which an equation belongs; None if it begins another one."""
    here = latest.get((place.path, place.call))
    if kind in OPERATIONS and kind in place.scope:
        begun = latest.get((place, kind))
        same = begun is not None and (begun in producers or begun.sources == tuple(producers))
        return begun if same else None
    if kind:
        return None
    if in_leaf:
        return here
    if len(producers) != 1:
        return None
    (last,) = producers
    primitive = eqn.primitive.name
    if primitive in FORMS or "barrier" in place.scope:
        return last
    if last.kind in ("avg_pool", "global_avg_pool") and primitive in ("div", "mul"):
        return last
    both = last.kind in ELEMENTWISE and primitive in ELEMENTWISE
    same = (last.place.path, last.place.call) == (place.path, place.call)
    return last if both and same else None


def _inner(eqn: JaxprEqn) -> list[JaxprEqn]:
    return [one for inner in jaxprs_in_params(eqn.params) for one in inside(inner)]


def _over_space(eqn: JaxprEqn) -> bool:
    return len(shape_of(eqn.invars[0])) == 4 and {1, 2} <= {*eqn.params["axes"]}


def _is_zero(one: Any) -> bool:
    return isinstance(one, Literal) and getattr(one.val, "size", 1) == 1 and float(one.val) == 0


def _flattens(eqn: JaxprEqn) -> bool:
    return len(shape_of(eqn.invars[0])) == 4 and len(shape_of(eqn.outvars[0])) == 2


def _close(
    groups: Sequence[Group],
    flat: Flat,
    moving: Set[Var],
    modules: Mapping[str, nn.Module],
    leaves: Set[str],
) -> None:
    """Sets the fields of groups that need all of their equations, or all other groups."""
    used: dict[Var, Group | None] = {var: None for var in flat.outputs if isinstance(var, Var)}
    for group in reversed(groups):
        made = dict.fromkeys(var for eqn in group.equations for var in eqn.outvars)
        needed = dict.fromkeys(
            var for eqn in group.equations for var in eqn.invars if isinstance(var, Var)
        )
        inputs = tuple(var for var in needed if var not in made)
        outputs = [var for var in made if var in used]
        group.inputs = inputs
        used.update(dict.fromkeys(inputs, group))
        if group.is_node:
            shaped = [var for var in outputs if var in moving] or list(made)
            group.output, group.activations = shaped[-1], moving
        group.program = program(inputs, outputs, group.equations)
    seen = set[tuple[str, int]]()
    for group in groups:
        if group.is_node:
            _describe(group, modules, leaves, seen)


def _describe(
    group: Group, modules: Mapping[str, nn.Module], leaves: Set[str], seen: set[tuple[str, int]]
) -> None:
    path, call = group.place.path, group.place.call
    group.macs = sum(macs.of_equation(eqn) for eqn in group.equations) // _batch(group)
    convolution = next(filter(None, map(macs.convolution_of, group.equations)), None)
    if path in leaves and (path, call) not in seen:
        seen.add((path, call))
        group.name, group.module = path, path.rpartition("/")[0]
        group.is_module = True
        group.kind = _kind_of_module(modules[path], convolution, group)
    else:
        curves = (CURVES.get(eqn.primitive.name) for eqn in group.equations)
        if group.kind in ELEMENTWISE:
            group.kind = next(filter(None, curves), group.kind)
        group.kind = OF_SEVERAL.get(group.kind, group.kind)
        group.module = path
        group.name = f"{path}/{group.kind}".lstrip("/")
    group.detail = _detail(group, convolution)


def _batch(group: Group) -> int:
    return max(int(group.output.aval.shape[0]), 1) if group.output.aval.ndim else 1


def _kind_of_module(module: nn.Module, convolution: JaxprEqn | None, group: Group) -> str:
    if group.kind in (*ACTIVATIONS, "max_pool", "local_response_norm"):
        return group.kind
    if convolution is not None:
        return "conv"
    if any(eqn.primitive.name == "dot_general" for eqn in group.equations):
        return "dense"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(module).__name__).lower()


def _detail(group: Group, convolution: JaxprEqn | None) -> str:
    if convolution is not None:
        return _of_convolution(convolution)
    if group.kind == "dense":
        return str(group.output.aval.shape[-1])
    windows = (
        one
        for eqn in group.equations
        for one in (eqn, *_inner(eqn))
        if one.primitive.name.startswith("reduce_window")
    )
    if group.kind != "local_response_norm" and (window := next(windows, None)) is not None:
        return _of_window(window)
    return ""


def _of_convolution(eqn: JaxprEqn) -> str:
    params, kernel, out = eqn.params, shape_of(eqn.invars[1]), shape_of(eqn.outvars[0])
    numbers = params["dimension_numbers"]
    size = [kernel[axis] for axis in numbers.rhs_spec[2:]]
    parts = ["x".join(map(str, size)), str(out[numbers.out_spec[1]])]
    parts += _moves(params["window_strides"], params["padding"])
    if any(step > 1 for step in params["rhs_dilation"]):
        parts.append(f"dilation {_short(params['rhs_dilation'])}")
    if params["feature_group_count"] > 1:
        parts.append(f"groups {params['feature_group_count']}")
    return ", ".join(parts)


def _of_window(eqn: JaxprEqn) -> str:
    params = eqn.params
    axes = [axis for axis, size in enumerate(params["window_dimensions"]) if axis in (1, 2)]
    size = "x".join(str(params["window_dimensions"][axis]) for axis in axes)
    strides = [params["window_strides"][axis] for axis in axes]
    return ", ".join([size, *_moves(strides, [params["padding"][axis] for axis in axes])])


def _moves(strides: Sequence[int], padding: Sequence[tuple[int, int]]) -> list[str]:
    parts = []
    if any(step != 1 for step in strides):
        parts.append(f"stride {_short(strides)}")
    if any(before or after for before, after in padding):
        sides = [
            f"{before}" if before == after else f"{before}-{after}" for before, after in padding
        ]
        parts.append(f"padding {_short(sides)}")
    return parts


def _short(values: Sequence[Any]) -> str:
    return str(values[0]) if len({*map(str, values)}) == 1 else "x".join(map(str, values))
