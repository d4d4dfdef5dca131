"""The network of an ONNX file as a graph of `Layer`s.

Each node becomes a layer, or changes only the form of an array. The weights of a layer are arrays
in ONNX's order of axes. Batch sizes are ignored. Maps may be transposed to (N, H, W, C), as in
files that come from TensorFlow; the layers are the same.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.interop.onnx_reader import forms, windows
from jaxcnn.interop.onnx_reader.compare import (
    Layer,
    LayerGraph,
    Shape,
    concat,
    dense,
    lrn,
    scaled,
    shortest,
)
from jaxcnn.interop.onnx_reader.file import Node, OnnxFile, array_of, short
from jaxcnn.interop.onnx_reader.operation import Array, Operation, Rule, Value, small_constant


def onnx_layers(file: OnnxFile, image_shape: Shape, axes: str) -> LayerGraph:
    """Returns the layers of a file up to the logits: a softmax at the end is left out.

    Args:
      file: see `read_onnx`.
      image_shape: (C, H, W).
      axes: "NCHW" or "NHWC" of the file's images.

    Raises:
      UserError: if a node is of a kind that no network of ours has.
    """
    images = Layer("images", file.images, (), image_shape)
    arrays: dict[str, Array] = {**file.arrays, file.images: Value(images, axes)}
    layers = {images: None}
    for node in file.nodes:
        arrays[node.output] = found = _read(node, arrays)
        if isinstance(found, Value):
            layers[found.layer] = None
    output = arrays[file.output]
    if not isinstance(output, Value):
        raise UserError("its output does not depend on the images")
    last = output.layer
    while last.kind == "softmax":
        (last,) = last.inputs
    return LayerGraph(tuple(layers), last)


def _read(node: Node, arrays: Mapping[str, Array]) -> Array:
    missing = [name for name in node.inputs if name and name not in arrays]
    if missing:
        raise UserError(f"its node {node.name} takes {short(missing[0])}, which no node before has")
    op = Operation(node, [arrays[name] if name else None for name in node.inputs])
    if node.operator not in RULES:
        raise op.refused("is of a kind that no network of ours has")
    try:
        return RULES[node.operator](op)
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise op.refused(f"is not valid ({type(error).__name__})") from error


def _gemm(op: Operation) -> Value:
    if op.field("transA", 0):
        raise op.refused("transposes the images' features")
    kernel = op.weights(1)
    if kernel.ndim != 2:
        raise op.refused("is no product with a matrix")
    kernel = kernel if op.field("transB", 0) else kernel.T
    kernel = kernel * np.asarray(op.field("alpha", 1.0), kernel.dtype)
    return _dense(op, kernel, windows.bias(op, 2, len(kernel), op.field("beta", 1.0)))


def _matmul(op: Operation) -> Value:
    kernel = op.weights(1)
    if kernel.ndim != 2:
        raise op.refused("is no product with a matrix")
    return _dense(op, kernel.T, {})


def _dense(op: Operation, kernel: np.ndarray, weights: Mapping[str, np.ndarray]) -> Value:
    """Returns a dense layer; its kernel (O, I) is for a vector or a flattened map."""
    x = op.value()
    maps = x.layer.inputs[0] if x.layer.kind == "flatten" else x.layer
    channels, height, width = maps.shape
    if x.axes not in ("NC", "N*") or kernel.shape[1] != channels * height * width:
        raise op.refused(f"has a matrix {kernel.shape} for {x.axes} of {maps.shape}")
    if x.axes == "N*":
        kernel = kernel.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    kernel = kernel.reshape(-1, *maps.shape)
    layer = dense(op.name, x.layer, len(kernel), {"kernel": kernel, **weights})
    return Value(layer, "NC")


def _batch_norm(op: Operation) -> Value:
    x, names = op.value(), ("scale", "bias", "mean", "var")
    weights: dict[str, Any] = {name: op.weights(i + 1) for i, name in enumerate(names)}
    if x.axes not in ("NCHW", "NC"):
        raise op.refused(f"takes an array with axes {x.axes}")
    for name, array in weights.items():
        if array.shape != x.layer.shape[:1]:
            raise op.refused(f"has {name} {array.shape} for {x.layer.shape[0]} channels")
    weights["epsilon"] = shortest(op.field("epsilon", 1e-5))
    return x.to(op.layer("norm", x.layer.shape, weights=weights))


def _lrn(op: Operation) -> Value:
    x, size = op.value(axes="NCHW"), int(op.field("size", 0))
    if size % 2 == 0:
        raise op.refused(f"sums over {size} channels, which has no middle")
    alpha, beta, k = (
        shortest(op.field(name, default))
        for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    return x.to(lrn(op.name, x.layer, (size, k, alpha / size, beta)))


def _activation(kind: str) -> Rule:
    return lambda op: op.value().to(op.layer(kind, op.value().layer.shape))


def _clip(op: Operation) -> Value:
    low, high = (op.constant(i + 1, op.field(name)) for i, name in enumerate(("min", "max")))
    limits = tuple(None if x is None or abs(x) > 1e38 else float(x) for x in (low, high))
    kinds = {(0.0, 6.0): "relu6", (0.0, None): "relu"}
    if limits not in kinds:
        raise op.refused(f"clips to {limits}")
    return op.value().to(op.layer(kinds[limits], op.value().layer.shape))


def _arithmetic(op: Operation) -> Value:
    """Returns a sum of two maps, or a map times or plus constants."""
    kind, inputs = op.node.operator, op.inputs
    if all(isinstance(x, Value) for x in inputs):
        return _sum(op)
    first = isinstance(inputs[0], Value)
    if kind in ("Sub", "Div") and not first:
        raise op.refused("takes a constant first")
    x, given = op.value(not first), op.weights(first)
    with np.errstate(divide="ignore"):
        constant = {"Sub": np.negative, "Div": np.reciprocal}.get(kind, np.positive)(given)
    channels, multiplies = x.layer.shape[0], kind in ("Mul", "Div")
    if given.size == 1 and (given.ndim < 2 or channels > 1):
        one, zero = np.ones(channels), np.zeros(channels)
        factors = (one * constant.item(), zero) if multiplies else (one, one * constant.item())
        return x.to(scaled(op.name, x.layer, *factors))
    if op.field("broadcast", 0) and "axis" in op.node.fields:  # before ONNX 1.2
        given = given.reshape(given.shape + (1,) * (len(x.axes) - op.field("axis") - given.ndim))
    axis = x.axes.find("C") - len(x.axes)
    shape = (1,) * (len(x.axes) - given.ndim) + given.shape
    if x.axes == "N*" or len(shape) != len(x.axes) or math.prod(shape) != shape[axis] != channels:
        raise op.refused(f"takes a constant {given.shape} for {channels} channels in {x.axes}")
    weights = {"scale" if multiplies else "bias": np.ravel(constant)}
    return x.to(Layer("norm", op.name, (x.layer,), x.layer.shape, weights=weights))


def _sum(op: Operation) -> Value:
    x, other = op.value(0), op.value(1)
    if op.node.operator not in ("Add", "Sum") or len(op.inputs) != 2:
        raise op.refused("combines arrays in a way that no network of ours does")
    if (x.axes, x.layer.shape) != (other.axes, other.layer.shape):
        raise op.refused(f"adds maps of {x.layer.shape} and {other.layer.shape}")
    return x.to(Layer("add", op.name, (x.layer, other.layer), x.layer.shape))


def _concat(op: Operation) -> Array:
    if not any(isinstance(x, Value) for x in op.inputs):
        parts = [small_constant(op, i).ravel() for i in range(len(op.inputs))]
        return np.concatenate(parts)
    values = [op.value(i) for i in range(len(op.inputs))]
    axes, axis = values[0].axes, int(op.field("axis", 1))
    if axis % len(axes) != axes.find("C") or {x.axes for x in values} != {axes}:
        raise op.refused("joins other axes than the channels")
    if len({x.layer.shape[1:] for x in values}) > 1:
        raise op.refused("joins maps of several sizes")
    layers = [x.layer for x in values]
    return values[0].to(_rejoined(op.name, layers) or concat(op.name, layers))


def _rejoined(name: str, parts: Sequence[Layer]) -> Layer | None:
    """Returns the images with channels that were taken apart and scaled, if the parts are these."""
    whole, slopes, offsets = None, [], []
    for number, part in enumerate(parts):
        slope, offset = 1.0, 0.0
        if part.kind == "scale":
            ((slope,), (offset,)) = part.settings  # type: ignore
            (part,) = part.inputs
        if part.kind != "channel" or part.settings != number:
            return None
        if whole not in (None, part.inputs[0]):
            return None
        (whole,) = part.inputs
        slopes.append(slope)
        offsets.append(offset)
    if whole is None or whole.shape[0] != len(parts):
        return None
    return scaled(name, whole, np.array(slopes), np.array(offsets))


def _constant(op: Operation) -> np.ndarray:
    fields = op.node.fields
    if "value" in fields:
        return array_of(fields["value"])
    (given,) = [fields[name] for name in fields if name.startswith("value_")] or [None]
    if given is None or isinstance(given, bytes):
        raise op.refused("is no number")
    return np.asarray(given)


def _unchanged(op: Operation) -> Array:
    found = op.inputs[0]
    if found is None:
        raise op.refused("has no input")
    return found


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _unchanged),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _activation("softmax")),
    "AveragePool": windows.average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": windows.convolution,
    "Flatten": forms.flatten,
    "Gather": forms.gather,
    "Gemm": _gemm,
    "GlobalAveragePool": windows.global_pool,
    "LRN": _lrn,
    "MatMul": _matmul,
    "MaxPool": windows.max_pool,
    "Pad": windows.pad,
    "ReduceMean": windows.reduce_mean,
    "Relu": _activation("relu"),
    "Reshape": forms.reshape,
    "Shape": forms.shape_of,
    "Sigmoid": _activation("sigmoid"),
    "Slice": forms.slice_channels,
    "Squeeze": forms.squeeze,
    "Sum": _sum,
    "Tanh": _activation("tanh"),
    "Transpose": forms.transpose,
    "Unsqueeze": forms.unsqueeze,
}
