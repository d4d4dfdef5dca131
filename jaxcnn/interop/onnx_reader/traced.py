"""Our network as a graph of `Layer`s, read from its traced program."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import (
    ClosedJaxpr,
    JaxprEqn,
    Literal,
    Var,
    jaxpr_as_fun,
    jaxprs_in_params,
)

from jaxcnn.analysis.macs import convolution_of
from jaxcnn.analysis.tracing.equations import inside, shape_of
from jaxcnn.analysis.tracing.graph import IMAGES, Graph, Node
from jaxcnn.analysis.tracing.group import Group
from jaxcnn.errors import UserError
from jaxcnn.interop.onnx_reader.compare import (
    Layer,
    LayerGraph,
    Shape,
    avg_pool,
    concat,
    dense,
    flatten,
    global_avg_pool,
    lrn,
    scaled,
    windowed,
)
from jaxcnn.ops.windows import Window

UNCHANGED = ("name",)  # of a rematerialised array
SIMPLE = ("relu", "relu6", "sigmoid", "tanh", "add")
Values = Mapping[Var, Any]
LINEAR = ("mul", "add", "sub", "div", "multiply", "divide", "subtract")  # with constants


def traced_layers(graph: Graph) -> LayerGraph:
    """Returns the layers of a traced network; the weights are paths, ("params", "stem", …).

    Raises:
      UserError: if the network has a layer of a kind that files are not compared in.
    """
    layers = {IMAGES: Layer("images", IMAGES, (), _channels_first(graph.input_shape))}
    groups = [group for group in graph.groups if group.is_node]
    constants = _constants(graph)
    for node, group in zip(graph.nodes, groups, strict=True):
        inputs = [layers[name] for name in node.inputs]
        layers[node.name] = _layer(node, group, inputs, constants)
    return LayerGraph(tuple(dict.fromkeys(layers.values())), layers[graph.output])


def _layer(node: Node, group: Group, inputs: list[Layer], constants: Values) -> Layer:
    (x, *more), name, kind = inputs, node.name, node.kind
    shape = _channels_first(node.shape)
    if kind in UNCHANGED:
        return x
    if kind == "conv":
        return _convolution(node, group, x)
    if kind == "dense":
        return dense(name, x, shape[0], _parameters(node))
    if kind == "batch_norm":
        weights = {leaf: ("batch_stats", *name.split("/"), leaf) for leaf in ("mean", "var")}
        return Layer("norm", name, (x,), shape, weights={**_parameters(node), **weights})
    if kind in ("max_pool", "avg_pool"):
        return _pool(node, group, x, constants)
    if kind == "global_avg_pool":
        return global_avg_pool(name, x)
    if kind == "flatten":
        return flatten(name, x)
    if kind == "concatenate":
        return concat(name, inputs)
    if kind == "local_response_norm":
        return lrn(name, x, _lrn_constants(node, group))
    if kind in SIMPLE and len(more) == (kind == "add"):
        return Layer(kind, name, tuple(inputs), shape)
    if kind in LINEAR and not more:
        zero, one = (_at(value, group, constants)[0, 0] for value in (0.0, 1.0))
        return scaled(name, x, one - zero, zero)
    raise UserError(
        f"our {name} is a layer of kind {kind}, which files are not compared in: such networks are"
        " not read"
    )


def _channels_first(shape: tuple[int, ...]) -> Shape:
    """Returns (C, H, W) for (H, W, C), and (C, 1, 1) for (C,)."""
    height, width, channels = shape if len(shape) == 3 else (1, 1, shape[-1])
    return channels, height, width


def _parameters(node: Node) -> dict[str, tuple[str, ...]]:
    """Returns the paths of a layer's parameters by their last names.

    Raises:
      UserError: if an earlier layer has them too.
    """
    if not node.parameters:
        raise UserError(f"our {node.name} shares its weights: such networks are not read")
    paths = (("params", *name.split("/")) for name in node.parameters)
    return {path[-1]: path for path in paths}


def _convolution(node: Node, group: Group, x: Layer) -> Layer:
    eqn: Any = next(filter(None, map(convolution_of, group.equations)))
    params, kernel = eqn.params, shape_of(eqn.invars[1])
    sides = tuple(kernel[axis] for axis in params["dimension_numbers"].rhs_spec[2:])
    window = Window(sides, params["window_strides"], params["padding"], params["rhs_dilation"])
    groups = params["feature_group_count"]
    return windowed(
        "conv", node.name, x, window, node.shape[-1], settings=groups, weights=_parameters(node)
    )


def _pool(node: Node, group: Group, x: Layer, constants: Values) -> Layer:
    eqn = next(_windows(group), None)
    if eqn is None:
        return _adaptive_pool(node, x)
    sizes, strides = (eqn.params[f"window_{name}"][1:3] for name in ("dimensions", "strides"))
    window = Window(sizes, strides, eqn.params["padding"][1:3])
    if node.kind == "max_pool":
        return windowed("max_pool", node.name, x, window, node.shape[-1])
    ones = _at(1.0, group, constants)[:, :, 0]
    return avg_pool(node.name, x, window, ones * np.prod(sizes))


def _adaptive_pool(node: Node, x: Layer) -> Layer:
    """Returns an average over bins of one size.

    Raises:
      UserError: if the bins have several sizes.
    """
    _, height, width = x.shape
    rows, columns, _ = node.shape
    if height % rows or width % columns:
        raise UserError(
            f"our {node.name} averages maps of {height}x{width} to {rows}x{columns}: take a file"
            " for other images"
        )
    size = (height // rows, width // columns)
    window = Window(size, size, ((0, 0), (0, 0)))
    return avg_pool(node.name, x, window, np.full((rows, columns), np.prod(size)))


def _windows(group: Group) -> Iterator[JaxprEqn]:
    for eqn in group.equations:
        for one in (eqn, *(one for jaxpr in jaxprs_in_params(eqn.params) for one in inside(jaxpr))):
            if one.primitive.name.startswith("reduce_window"):
                yield one


def _lrn_constants(node: Node, group: Group) -> tuple[float, ...]:
    """Returns (size, k, alpha, beta) of the formula x·(k + alpha·sum)^-beta."""
    window = next(_windows(group), None)
    numbers = [
        (eqn.primitive.name, float(x.val))
        for eqn in group.equations
        for x in eqn.invars
        if isinstance(x, Literal)
    ]
    if window is None or [name for name, _ in numbers] != ["mul", "add", "pow"]:
        raise UserError(f"our {node.name} has another formula: such networks are not read")
    (_, alpha), (_, k), (_, exponent) = numbers
    return window.params["window_dimensions"][-1], k, alpha, -exponent


def _constants(graph: Graph) -> Values:
    """Returns the values of a program that depend neither on images nor on weights."""
    known = dict(graph.constants)
    for group in graph.groups:
        if not group.is_node and all(isinstance(x, Literal) or x in known for x in group.inputs):
            known.update(zip(group.program.outvars, _run(group, known), strict=True))
    return known


def _run(group: Group, values: Values) -> list[Any]:
    arguments = [x.val if isinstance(x, Literal) else values[x] for x in group.inputs]
    compute: Any = jaxpr_as_fun(ClosedJaxpr(group.program, ()))
    return compute(*arguments)


def _at(value: float, group: Group, constants: Values) -> np.ndarray:
    """Returns the output (H, W, C) of a layer without weights for a constant image."""
    given = {x: jnp.full(shape_of(x), value) for x in group.inputs if x in group.activations}
    outputs = _run(group, {**constants, **given})
    found = np.asarray(outputs[group.program.outvars.index(group.output)][0])
    return found.reshape(-1, 1, found.shape[-1]) if found.ndim == 1 else found
