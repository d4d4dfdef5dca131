"""A node of an ONNX graph with its inputs, and what rules for nodes have in common."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.interop.onnx_reader.compare import Layer, Shape
from jaxcnn.interop.onnx_reader.file import Node, short

SMALL = 64  # numbers in a shape; larger arrays are not computed with


class Value(NamedTuple):
    """An array that depends on the images.

    Attributes:
      layer: what computes it.
      axes: "NCHW", "NHWC", "NC", "NHW" of a single channel, or "N*" of a flattened NHWC.
    """

    layer: Layer
    axes: str

    def to(self, layer: Layer) -> "Value":
        """Returns another layer's array with the same axes."""
        return Value(layer, self.axes)

    @property
    def spatial(self) -> tuple[int, int]:
        """Numbers of the axes H and W."""
        return self.axes.index("H"), self.axes.index("W")


Array = np.ndarray | Value
Rule = Callable[["Operation"], Array]


class Operation(NamedTuple):
    """A node with its inputs; None for one that is left out."""

    node: Node
    inputs: Sequence[Array | None]

    @property
    def name(self) -> str:
        """Name of the node, for messages."""
        return self.node.name

    def field(self, name: str, default: Any = None) -> Any:
        """Returns an attribute, or its default."""
        return self.node.fields.get(name, default)

    def refused(self, reason: str) -> UserError:
        """Returns the error for a node that no network of ours has."""
        return UserError(f"its node {self.name} ({short(self.node.operator)}) {reason}")

    def value(self, number: int = 0, axes: str = "") -> Value:
        """Returns an input that depends on the images, with the given axes if any are given."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if not isinstance(value, Value):
            raise self.refused(f"takes a constant as input {number}")
        if axes and value.axes != axes:
            raise self.refused(f"takes an array with axes {value.axes} instead of {axes}")
        return value

    def constant(self, number: int, default: Any = None) -> Any:
        """Returns an input that does not depend on the images, or its default if it is missing."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if isinstance(value, Value):
            raise self.refused(f"computes its input {number} from the images")
        return default if value is None else value

    def weights(self, number: int) -> np.ndarray:
        """Returns an input of real numbers that does not depend on the images."""
        array = self.constant(number)
        # NumPy has no kind for bfloat16.
        if array is None or not (array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
            raise self.refused(f"has no array of real numbers as input {number}")
        return array

    def numbers(self, name: str, number: int) -> list[int] | None:
        """Returns whole numbers, which are an attribute or, in newer versions, an input."""
        given = self.field(name, self.constant(number))
        return None if given is None else [int(each) for each in np.ravel(given)[:SMALL]]

    def layer(self, kind: str, shape: Shape, **fields: Any) -> Layer:
        """Returns a layer of one input."""
        return Layer(kind, self.name, (self.value().layer,), shape, **fields)


def small_constant(op: Operation, number: int) -> np.ndarray:
    """Returns a constant of a few numbers, such as a shape."""
    array = np.asarray(op.constant(number))
    if array.size > SMALL:
        raise op.refused("computes with a large constant")
    return array
