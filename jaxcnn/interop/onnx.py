"""Converts JAX functions to ONNX, for the operations that evaluating a network uses.

The function is traced for any number of images. Values that do not depend on images are computed at
once. Each other operation becomes one or a few ONNX operators; a formula chosen by platform becomes
the plain one. ONNX convolves and pools channels first, with transpositions around, most of which a
runtime removes. Other operations raise an error with their name.

The alternative without TensorFlow is jax2onnx, but its releases since 0.13.1 are incompatible with
the Orbax that training needs. This converter needs only the package onnx.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from jaxcnn.errors import UserError

OPSET = 18
IR_VERSION = 8  # the version of that opset's time
INLINED = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
UNCHANGED = ("copy", "copy_p", "name", "optimization_barrier", "stop_gradient")
ONES = ("lhs_dilation", "batch_group_count", "base_dilation", "window_dilation")  # must be 1
# fmt: off
DIRECT = {  # operators with the same arguments
    "abs": "Abs", "add": "Add", "add_any": "Add", "and": "And", "div": "Div", "eq": "Equal",
    "erf": "Erf", "exp": "Exp", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual",
    "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul",
    "neg": "Neg", "not": "Not", "or": "Or", "pow": "Pow", "sign": "Sign", "sqrt": "Sqrt",
    "sub": "Sub", "tanh": "Tanh",
}
# fmt: on


class Tensor(NamedTuple):
    """A value that is known only when the model runs.

    Attributes:
      name: name in the graph.
      shape: shape in the graph. An axis of JAX's array with equal values may have length 1 here:
        most ONNX operators broadcast, and others use `Graph.full`.
    """

    name: str
    shape: tuple[Any, ...]


Value = np.ndarray | Tensor


class Graph:
    """An ONNX graph to which nodes and constants are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, inputs: Sequence[Value], shape: Any, **fields: Any) -> Tensor:
        """Adds an operator with one output, of the given shape."""
        from onnx import helper, numpy_helper

        names = []
        for value in inputs:
            if isinstance(value, Tensor):
                names.append(value.name)
            else:
                names.append(f"constant{len(self.constants)}")
                self.constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **fields))
        return Tensor(output, tuple(shape))

    def full(self, value: Value, shape: Sequence[Any]) -> Value:
        """Returns a value expanded to its shape in JAX."""
        if value.shape == tuple(shape):
            return value
        count = self.node("Shape", [Tensor("images", ())], (1,), start=0, end=1)
        lengths = [_integers([x]) if isinstance(x, int) else count for x in shape]
        whole = self.node("Concat", lengths, (len(shape),), axis=0)
        return self.node("Expand", [value, whole], shape)

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """Reshapes a value; at most one length may be unknown."""
        if value.shape == tuple(shape):
            return value
        if not isinstance(value, Tensor):
            return value.reshape(shape)
        lengths = [length if isinstance(length, int) else -1 for length in shape]
        return self.node("Reshape", [value, _integers(lengths)], shape)

    def transpose(self, value: Value, axes: Any) -> Value:
        """Permutes axes."""
        axes = [int(axis) for axis in axes]
        if axes == sorted(axes):
            return value
        if not isinstance(value, Tensor):
            return np.transpose(value, axes)
        return self.node("Transpose", [value], [value.shape[axis] for axis in axes], perm=axes)


def _integers(values: Any) -> np.ndarray:
    return np.asarray(values, np.int64)


def _kind(dtype: Any) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def convert(
    function: Callable[[jax.Array], jax.Array],
    shape: Sequence[int],
    dtype: Any,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """Returns a function as a serialised ONNX model from "images" to "logits".

    Args:
      function: images [n, *shape] → float32 [n, …].
      shape: shape of one image.
      dtype: dtype of the images.
      facts: stored in the model as `metadata_props`.

    Raises:
      UserError: if the function has an unsupported operation.
    """
    import onnx
    from onnx import helper

    (count,) = jax.export.symbolic_shape("n")
    program = jax.make_jaxpr(function)(jax.ShapeDtypeStruct((count, *shape), dtype))
    graph = Graph()
    images = Tensor("images", (count, *shape))
    (logits,) = evaluate(graph, program.jaxpr, program.consts, [images])
    (found,) = program.out_avals
    graph.node("Identity", [graph.full(logits, found.shape)], found.shape)
    graph.nodes[-1].output[0] = "logits"
    inputs, outputs = [
        [helper.make_tensor_value_info(name, _kind(dtype), ["n", *shape])]
        for name, dtype, shape in (
            ("images", dtype, shape),
            ("logits", found.dtype, found.shape[1:]),
        )
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "network", inputs, outputs, graph.constants),
        producer_name="jaxcnn",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(facts or {}))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def evaluate(graph: Graph, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list:
    """Evaluates a traced function; operations on unknown values become nodes of the graph."""
    known = dict(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def value_of(atom: Any) -> Any:
        return np.asarray(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        outputs = _run(graph, equation, list(map(value_of, equation.invars)))
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return list(map(value_of, jaxpr.outvars))


def _run(graph: Graph, equation: Any, values: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in INLINED:
        inner = params["call_jaxpr"] if "call_jaxpr" in params else params["jaxpr"]
        return evaluate(graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), values)
    if name == "platform_index":
        return [np.asarray(params["platforms"].index(None))]  # the plain formula
    if name == "cond" and not isinstance(values[0], Tensor):
        branch = params["branches"][int(values[0])]
        return evaluate(graph, branch.jaxpr, branch.consts, values[1:])
    if name in UNCHANGED:
        return values
    shapes = [atom.aval.shape for atom in equation.invars]
    shape = equation.outvars[0].aval.shape
    pairs = zip(values, shapes, strict=True)
    constant = all(not isinstance(value, Tensor) and value.shape == own for value, own in pairs)
    if constant and all(isinstance(length, int) for length in shape):
        found = equation.primitive.bind(*values, **params)
        return list(map(np.asarray, found if equation.primitive.multiple_results else [found]))
    if name in DIRECT:
        return [graph.node(DIRECT[name], values, _joint(values))]
    if name not in RULES or any({*np.ravel(params.get(field, 1))} != {1} for field in ONES):
        raise UserError(f"ONNX export does not know the operation {name!r} of this network")
    return [RULES[name](Operation(graph, values, shapes, shape, params))]


def _joint(values: Sequence[Value]) -> list[Any]:
    """Returns the common shape to which NumPy broadcasts the values."""
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + tuple(value.shape) for value in values]
    return [next((n for n in axis if n != 1), 1) for axis in zip(*shapes, strict=True)]


class Operation(NamedTuple):
    """Arguments of a rule: values, their shapes in JAX, and the output's shape."""

    graph: Graph
    values: list[Any]
    shapes: list[tuple[Any, ...]]
    shape: tuple[Any, ...]
    params: dict[str, Any]

    def whole(self, number: int = 0) -> Value:
        """Returns an argument expanded to its shape in JAX."""
        return self.graph.full(self.values[number], self.shapes[number])

    def becomes(self, operator: str, *inputs: Value, **fields: Any) -> Value:
        """Adds the operator that computes the output."""
        return self.graph.node(operator, inputs, self.shape, **fields)


Rule = Callable[[Operation], Value]


def _broadcast_in_dim(op: Operation) -> Value:
    """Adds axes of length 1; see `Tensor`."""
    value, lengths = op.values[0], [1] * len(op.shape)
    for length, axis in zip(value.shape, op.params["broadcast_dimensions"], strict=True):
        lengths[axis] = length
    return op.graph.reshape(value, lengths)


def _convolution(op: Operation) -> Value:
    layout, params = op.params["dimension_numbers"], op.params
    orders = (layout.lhs_spec, layout.rhs_spec)
    inputs = [op.graph.transpose(op.whole(i), order) for i, order in enumerate(orders)]
    fields = {
        "strides": params["window_strides"],
        "pads": np.transpose(params["padding"]).ravel().tolist(),
        "dilations": params["rhs_dilation"],
        "group": params["feature_group_count"],
    }
    found = op.graph.node("Conv", inputs, [op.shape[axis] for axis in layout.out_spec], **fields)
    return op.graph.transpose(found, np.argsort(layout.out_spec))


def _dot_general(op: Operation) -> Value:
    (left, right), (of_left, _) = op.params["dimension_numbers"]
    if (*left, *right, *of_left, *map(len, op.shapes)) != (1, 0, 2, 2):
        raise UserError("ONNX export knows no other products than those of matrices")
    return op.becomes("MatMul", op.whole(0), op.whole(1))


def _formula(*steps: tuple[Any, ...]) -> Rule:
    """Returns a rule of consecutive operators, with constants after their argument."""

    def rule(op: Operation) -> Value:
        x = op.values[0]
        for operator, *constants in steps:
            x = op.graph.node(
                operator, [x, *(np.asarray(each, np.float32) for each in constants)], x.shape
            )
        return x

    return rule


def _pad(op: Operation) -> Value:
    *widths, gaps = np.transpose(op.params["padding_config"])
    if gaps.any():
        raise UserError("ONNX export does not know padding with gaps")
    return op.becomes("Pad", op.whole(), _integers(np.concatenate(widths)), op.values[1])


def _pool(operator: str, **more: Any) -> Rule:
    """Returns a rule for windows that move over any axes but the first."""

    def rule(op: Operation) -> Value:
        names = ("window_dimensions", "window_strides", "padding")
        kernel, strides, pads = (np.asarray(op.params[name]) for name in names)
        moves = (kernel != 1) | (strides != 1) | pads.any(-1)
        still, moving = (np.flatnonzero(moves == each).tolist() for each in (False, True))
        fields = {"kernel_shape": kernel[moving].tolist(), "strides": strides[moving].tolist()}
        fields["pads"] = pads[moving].T.ravel().tolist()

        def gathered(shape: Sequence[Any]) -> list[Any]:  # images, channels, window axes
            first, *channels = (shape[axis] for axis in still)
            return [first, math.prod(channels), *(shape[axis] for axis in moving)]

        axes = [*still, *moving]
        x = op.graph.reshape(op.graph.transpose(op.whole(), axes), gathered(op.shapes[0]))
        x = op.graph.node(operator, [x], gathered(op.shape), **fields, **more)
        if operator == "AveragePool":  # JAX has the sum
            x = op.graph.node("Mul", [x, np.asarray(kernel.prod(), np.float32)], x.shape)
        x = op.graph.reshape(x, [op.shape[axis] for axis in axes])
        return op.graph.transpose(x, np.argsort(axes))

    return rule


def _reduction(operator: str) -> Rule:
    return lambda op: op.becomes(operator, op.whole(), _integers(op.params["axes"]), keepdims=0)


def _scatter_add(op: Operation) -> Value:
    """Adds arrays at constant indices of the last axis."""
    places, axis = op.values[1], len(op.shape) - 1
    to = op.params["dimension_numbers"].scatter_dims_to_operand_dims
    if isinstance(places, Tensor) or to != (axis,):
        raise UserError("ONNX export does not know sums at places that depend on the image")
    spread = np.eye(op.shape[axis], dtype=np.float32)[places[:, 0]]
    return op.becomes("Add", op.values[0], op.graph.node("MatMul", [op.whole(2), spread], op.shape))


def _slice(op: Operation) -> Value:
    steps = op.params["strides"] or (1,) * len(op.shape)
    bounds = zip(op.params["start_indices"], op.params["limit_indices"], steps, strict=True)
    cut = [(*bound, axis) for axis, bound in enumerate(bounds) if isinstance(bound[1], int)]
    starts, ends, strides, axes = map(_integers, zip(*cut, strict=True))
    return op.becomes("Slice", op.whole(), starts, ends, axes, strides)


# fmt: off
RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "clamp": lambda op: op.becomes("Clip", op.whole(1), op.values[0], op.values[2]),
    "concatenate": lambda op: op.becomes(
        "Concat", *map(op.whole, range(len(op.values))), axis=op.params["dimension"]
    ),
    "conv_general_dilated": _convolution,
    "convert_element_type": lambda op: op.graph.node(
        "Cast", op.values, op.values[0].shape, to=_kind(op.params["new_dtype"])
    ),
    "dot_general": _dot_general,
    "expm1": _formula(("Exp",), ("Sub", 1)),
    "integer_pow": lambda op: _formula(("Pow", op.params["y"]))(op),
    "pad": _pad,
    "reduce_max": _reduction("ReduceMax"), "reduce_sum": _reduction("ReduceSum"),
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool", count_include_pad=1),
    "reshape": lambda op: op.graph.reshape(op.whole(), op.shape),
    "rsqrt": _formula(("Sqrt",), ("Reciprocal",)),
    "scatter-add": _scatter_add,
    "select_n": lambda op: op.graph.node(
        "Where", [op.values[0], *op.values[:0:-1]], _joint(op.values)
    ),
    "slice": _slice,
    "square": _formula(("Pow", 2)),
    "squeeze": lambda op: op.graph.reshape(op.whole(), op.shape),
    "transpose": lambda op: op.graph.transpose(op.values[0], op.params["permutation"]),
}
# fmt: on
