"""Reads ONNX files as data: nodes and arrays. Nothing is computed and no other file is opened."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import read_bytes

FILE_BYTES = 2 << 30  # the most that protobuf reads
MOST_NODES = 20_000  # ten times those of our deepest network
LONGEST_NAME = 100  # in messages
DOMAINS = ("", "ai.onnx")
# Fields of a tensor that hold its numbers if `raw_data` does not, and bytes of a number there.
DTYPES: dict[str, tuple[str, int]] = {
    "FLOAT": ("float_data", 4),
    "DOUBLE": ("double_data", 8),
    "FLOAT16": ("int32_data", 2),
    "BFLOAT16": ("int32_data", 2),
    "INT64": ("int64_data", 8),
    "INT32": ("int32_data", 4),
    "BOOL": ("int32_data", 1),
}


class Node(NamedTuple):
    """A node of the graph; `name`, for messages, is that of its output if it has none."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    output: str
    fields: Mapping[str, Any]


class OnnxFile(NamedTuple):
    """What an ONNX file holds.

    Attributes:
      nodes: that the first output depends on, in order.
      arrays: of initialisers and constants by name; of these nodes alone.
      unused: names, for messages, and shapes of the initialisers that no such node takes.
      images: name of the input.
      image_shape: of the input; None for lengths that the file leaves open.
      output: name of the first output.
    """

    nodes: Sequence[Node]
    arrays: Mapping[str, np.ndarray]
    unused: Mapping[str, tuple[int, ...]]
    images: str
    image_shape: tuple[int | None, ...]
    output: str


def read_onnx(source: Any) -> OnnxFile:
    """Returns the content of an ONNX file.

    Args:
      source: path of a file of at most 2 GiB, or an `onnx.ModelProto`.

    Raises:
      UserError: if the file is missing, damaged or not ONNX, keeps arrays in other files, defines
        functions, has several inputs, or the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise UserError('ONNX files need the package onnx: pip install "jaxcnn[onnx]"') from None
    given = isinstance(source, onnx.ModelProto)
    name = "the model" if given else Path(source)
    try:
        model = source if given else onnx.ModelProto.FromString(read_bytes(name, FILE_BYTES))
        return _content(model)
    except UserError as error:
        raise UserError(f"cannot read {name}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's own classes depend on its implementation
        raise UserError(
            f"cannot read {name}: it is damaged or not ONNX ({type(error).__name__}); fetch or"
            " write it again"
        ) from error


def _content(model: Any) -> OnnxFile:
    graph = model.graph
    if not graph.node or not graph.output:
        raise UserError("it is empty or not ONNX: fetch or write it again")
    if len(graph.node) > MOST_NODES:
        raise UserError(f"it has {len(graph.node):,} nodes: this is no network of ours")
    if model.functions:
        raise UserError("it defines functions: save it without them, by onnx.inliner")
    if graph.sparse_initializer:
        raise UserError("it has sparse arrays: save it without them")
    tensors: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    if len(tensors) < len(graph.initializer):
        raise UserError("it has two initialisers of one name: fetch or write it again")
    output = graph.output[0].name
    nodes = _needed(graph.node, output, set(tensors))
    taken = {name for node in nodes for name in node.inputs} | {output}
    arrays = {name: array_of(tensor) for name, tensor in tensors.items() if name in taken}
    images = [x for x in graph.input if x.name in taken and x.name not in tensors]
    if len(images) != 1:
        names = ", ".join(short(x.name) for x in images[:6])
        raise UserError(f"it has {len(images)} inputs ({names}) without a value instead of one")
    dims = images[0].type.tensor_type.shape.dim
    return OnnxFile(
        nodes,
        arrays,
        {short(name): tuple(tensor.dims) for name, tensor in tensors.items() if name not in taken},
        images[0].name,
        tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims),
        output,
    )


def _needed(protos: Sequence[Any], output: str, initialisers: set[str]) -> list[Node]:
    """Returns the nodes that an output depends on.

    Raises:
      UserError: if two nodes write one value, or a node is of another standard.
    """
    makers: dict[str, Any] = {}
    for proto in protos:
        for name in filter(None, proto.output):
            if name in makers or name in initialisers:
                raise UserError(f"two of its nodes write {short(name)}: fetch or write it again")
            makers[name] = proto
    needed = {output}
    kept = []
    for proto in reversed(protos):
        if needed.isdisjoint(proto.output):
            continue
        needed.update(filter(None, proto.input))
        kept.append(_node(proto))
    return kept[::-1]


def _node(proto: Any) -> Node:
    from onnx import helper

    name = short(proto.name or next(filter(None, proto.output)))
    if proto.domain not in DOMAINS:
        raise UserError(
            f"its node {name} is a {short(proto.domain)}.{short(proto.op_type)}, not of standard"
            " ONNX: save it"
            " without the optimisations of a runtime"
        )
    fields = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
    return Node(name, proto.op_type, tuple(proto.input), proto.output[0], fields)


def short(name: str) -> str:
    """Returns a name as messages have it."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


def array_of(tensor: Any) -> np.ndarray:
    """Returns the array of a tensor in the file.

    Raises:
      UserError: if it is in another file, not of numbers, or its size is not that of its shape.
    """
    from onnx import TensorProto, numpy_helper

    name = short(tensor.name or "a constant")
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise UserError(f"{name} is in another file: save it without external data")
    kinds = {getattr(TensorProto, kind): kind for kind in DTYPES}
    if tensor.data_type not in kinds:
        raise UserError(f"{name} has type number {tensor.data_type}: save it as float32")
    field, size = DTYPES[kinds[tensor.data_type]]
    given = (
        len(tensor.raw_data) / size if tensor.HasField("raw_data") else len(getattr(tensor, field))
    )
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) != given:
        raise UserError(
            f"{name} has {given:,g} numbers for the shape {tuple(tensor.dims)}: fetch or write it"
            " again"
        )
    return numpy_helper.to_array(tensor)
