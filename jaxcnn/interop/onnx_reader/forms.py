"""Rules for the nodes that change the form of an array, or compute such a form."""

import math

import numpy as np

from jaxcnn.interop.onnx_reader import compare
from jaxcnn.interop.onnx_reader.operation import SMALL, Array, Operation, Value, small_constant


def gather(op: Operation) -> Array:
    """Reads Gather: one channel of the images, or numbers of a shape."""
    indices = np.asarray(op.constant(1))
    if not isinstance(op.inputs[0], Value):
        if indices.size > SMALL:
            raise op.refused("takes many numbers of a constant")
        return np.take(small_constant(op, 0), indices.astype(int), int(op.field("axis", 0)))
    x = op.value(axes="NCHW")
    number = int(indices.ravel()[0]) if indices.size == 1 else -1
    if int(op.field("axis", 0)) != 1 or not 0 <= number < x.layer.shape[0]:
        raise op.refused("takes a part of an array")
    axes = "NHW" if indices.ndim == 0 else x.axes
    return Value(op.layer("channel", (1, *x.layer.shape[1:]), settings=number), axes)


def slice_channels(op: Operation) -> Array:
    """Reads Slice: one channel of the images, or numbers of a shape."""
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (op.numbers(name, i + 1) for i, name in enumerate(names))
    if starts is None or ends is None or len(starts) != 1 or steps not in (None, [1]):
        raise op.refused("takes a part of an array")
    if not isinstance(op.inputs[0], Value):
        if axes not in (None, [0]):
            raise op.refused("takes a part of a constant")
        return small_constant(op, 0)[starts[0] : ends[0]]
    x, number = op.value(axes="NCHW"), starts[0]
    if axes != [1] or ends[0] != number + 1 or not 0 <= number < x.layer.shape[0]:
        raise op.refused("takes a part of an array")
    return x.to(op.layer("channel", (1, *x.layer.shape[1:]), settings=number))


def flatten(op: Operation) -> Array:
    """Reads Flatten: maps to vectors."""
    if not isinstance(op.inputs[0], Value):
        array, axis = op.constant(0), int(op.field("axis", 1))
        return array.reshape(math.prod(array.shape[:axis]), -1)
    x = op.value()
    if int(op.field("axis", 1)) % len(x.axes) != 1:
        raise op.refused("does not flatten images to vectors")
    return _vector(op, x)


def _vector(op: Operation, x: Value) -> Value:
    layer = compare.flatten(op.name, x.layer)
    return Value(layer, "N*" if layer.kind == "flatten" and x.axes in ("NHWC", "N*") else "NC")


def reshape(op: Operation) -> Array:
    """Reads Reshape: maps to vectors, or no change."""
    shape = op.numbers("shape", 1) or []
    if not isinstance(op.inputs[0], Value):
        array = op.constant(0)
        zeros = int(op.field("allowzero", 0)) == 0
        kept = [array.shape[i] if n == 0 and zeros else n for i, n in enumerate(shape)]
        return array.reshape(kept)
    x = op.value()
    channels, height, width = x.layer.shape
    if len(shape) == 2 and shape[1] in (-1, channels * height * width):
        return _vector(op, x)
    if len(shape) == 4 and (height, width) == (1, 1):
        for axes, number, ones in (("NCHW", 1, slice(2, 4)), ("NHWC", 3, slice(1, 3))):
            if shape[number] in (-1, channels) and shape[ones] == [1, 1]:
                return Value(x.layer, axes)
    last = shape[1:] if x.axes != "NHWC" else [*shape[3:], *shape[1:3]]
    same = [n for n, own in zip(last, x.layer.shape, strict=False) if n not in (own, -1, 0)]
    if len(shape) == 4 and not same and shape.count(-1) < 3:
        return x if len(x.axes) == 4 else Value(x.layer, "NCHW")
    raise op.refused(f"reshapes {x.layer.shape} to {shape}")


def transpose(op: Operation) -> Array:
    """Reads Transpose: between (N, C, H, W) and (N, H, W, C), or of a constant."""
    perm = [int(axis) for axis in op.field("perm", ())]
    if not isinstance(op.inputs[0], Value):
        return np.transpose(op.constant(0), perm or None)
    x = op.value()
    moved = "".join(x.axes[axis] for axis in perm if axis < len(x.axes))
    if moved not in ("NCHW", "NHWC", "NC"):
        raise op.refused(f"transposes {x.axes} to {moved}")
    return Value(x.layer, moved)


def squeeze(op: Operation) -> Array:
    """Reads Squeeze: leaves out height and width of one pixel."""
    axes = op.numbers("axes", 1)
    if not isinstance(op.inputs[0], Value):
        return np.squeeze(op.constant(0), tuple(axes) if axes else None)
    x = op.value()
    gone = {axis % len(x.axes) for axis in axes} if axes else {*range(1, len(x.axes))}
    if len(x.axes) != 4 or x.layer.shape[1:] != (1, 1) or not gone >= {*x.spatial}:
        raise op.refused("leaves out other axes than height and width of one pixel")
    return Value(x.layer, "NC")


def unsqueeze(op: Operation) -> Array:
    """Reads Unsqueeze: adds height and width of one pixel, or the axis of a single channel."""
    axes = op.numbers("axes", 1) or []
    if not isinstance(op.inputs[0], Value):
        return np.expand_dims(op.constant(0), tuple(axes))
    x = op.value()
    if x.axes == "NHW" and axes in ([1], [-3]):
        return Value(x.layer, "NCHW")
    if x.axes == "NC" and sorted(axis % 4 for axis in axes) == [2, 3]:
        return Value(x.layer, "NCHW")
    raise op.refused("adds axes that are neither channels nor pixels")


def shape_of(op: Operation) -> Array:
    """Returns the shape of an array; -1 stands for the number of images."""
    x = op.value()
    lengths = dict(zip("CHW", x.layer.shape, strict=True))
    flat = math.prod(x.layer.shape)
    shape = [-1, *(flat if axis == "*" else lengths[axis] for axis in x.axes[1:])]
    return np.array(shape[op.field("start", 0) : op.field("end", len(shape))], np.int64)
