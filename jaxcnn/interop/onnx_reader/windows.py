"""Rules for the nodes that move windows over maps: convolutions, pools and padding."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from jaxcnn.interop.onnx_reader.compare import Layer, avg_pool, global_avg_pool, windowed
from jaxcnn.interop.onnx_reader.operation import Operation, Value
from jaxcnn.ops.pool import whole_windows
from jaxcnn.ops.windows import Window

MOST_PADDING = 64  # pixels on a side


def convolution(op: Operation) -> Value:
    """Reads Conv; a node that pads before it belongs to it."""
    x, kernel = op.value(axes="NCHW"), op.weights(1)
    if kernel.ndim != 4:
        raise op.refused("is no convolution over two axes")
    groups, channels = int(op.field("group", 1)), x.layer.shape[0]
    if groups < 1 or channels != kernel.shape[1] * groups or kernel.shape[0] % groups:
        raise op.refused(f"has a kernel {kernel.shape} in {groups} groups for {channels} channels")
    window = _window(op, kernel.shape[2:], x.layer.shape[1:])
    maps, pads = _unpadded(x.layer)
    weights = {"kernel": kernel} | bias(op, 2, kernel.shape[0])
    window = _with_pads(window, pads)
    features = kernel.shape[0]
    return x.to(windowed("conv", op.name, maps, window, features, settings=groups, weights=weights))


def bias(op: Operation, number: int, features: int, factor: float = 1.0) -> dict[str, np.ndarray]:
    """Returns a node's bias times a factor, by its name; nothing if there is none."""
    if op.constant(number) is None:
        return {}
    given = op.weights(number)
    if given.size not in (1, features) or max(given.shape, default=1) != given.size:
        raise op.refused(f"has a bias {given.shape} for {features} features")
    values = np.ravel(given) * np.asarray(factor, given.dtype)
    return {"bias": np.broadcast_to(values, (features,))}


def _window(op: Operation, size: Sequence[int], image: Sequence[int], ceil: bool = False) -> Window:
    """Returns the window of a convolution or pool over maps (H, W)."""
    given = [op.field("kernel_shape", size), op.field("strides", (1, 1))]
    sides, strides = (tuple(map(int, each)) for each in given)
    dilation = tuple(map(int, op.field("dilations", (1, 1))))
    whole = [(side - 1) * apart + 1 for side, apart in zip(size, dilation, strict=False)]
    if sides != tuple(size) or {*map(len, (sides, strides, dilation))} != {2}:
        raise op.refused("has no window of two axes")
    if min(*sides, *strides, *dilation) < 1:
        raise op.refused("has a window that does not move")
    pads = [int(each) for each in op.field("pads", (0, 0, 0, 0))]
    if len(pads) != 4 or min(pads) < 0 or max(pads) > MOST_PADDING:
        raise op.refused(f"has pads {pads}")
    cells = list(zip(image, whole, strides, zip(pads[:2], pads[2:], strict=True), strict=True))
    mode = _text(op.field("auto_pad", "NOTSET"))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        same = "SAME" if mode == "SAME_UPPER" else mode  # jax's name
        padded = lax.padtype_to_pads(image, whole, strides, same)
    elif ceil:
        padded = [whole_windows(*cell) for cell in cells]
    else:
        padded = [(0, 0) if mode == "VALID" else cell[3] for cell in cells]
    window = Window(sides, strides, tuple(padded), dilation)
    if min(window.outputs((1, *image, 1))) < 1:
        raise op.refused(f"has no output for maps of {image[0]}x{image[1]}")
    return window


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _unpadded(x: Layer) -> tuple[Layer, tuple[tuple[int, int], tuple[int, int]]]:
    """Returns the layer before a node that pads, and its padding."""
    return (x.inputs[0], x.settings) if x.kind == "pad" else (x, ((0, 0), (0, 0)))  # type: ignore


def _with_pads(window: Window, pads: Sequence[tuple[int, int]]) -> Window:
    both = zip(window.pads, pads, strict=True)
    return window._replace(pads=tuple((a + c, b + d) for (a, b), (c, d) in both))


def max_pool(op: Operation) -> Value:
    """Reads MaxPool; a node that pads with zeros after a ReLU belongs to it."""
    x = op.value(axes="NCHW")
    maps, pads = _unpadded(x.layer)
    if maps is not x.layer and maps.kind not in ("relu", "relu6"):
        raise op.refused("takes the maximum with a padding of zeros")
    window = _pool_window(op, x)
    return x.to(windowed("max_pool", op.name, maps, _with_pads(window, pads), maps.shape[0]))


def average_pool(op: Operation) -> Value:
    """Reads AveragePool, which is a global one if its window covers the map."""
    x = op.value(axes="NCHW")
    window, image = _pool_window(op, x), x.layer.shape[1:]
    if window.shape == (1, 1) and window.strides == (1, 1):
        return x
    maps, pads = _unpadded(x.layer)
    counted: Sequence[tuple[int, int]] = ((0, 0), (0, 0))
    if op.field("count_include_pad", 0):  # pixels that the ceil mode adds are never counted
        counted = _window(op, window.shape, image).pads
    padded = _with_pads(window, pads)
    shares = [
        _pixels(axis, padded, maps.shape[1 + axis])
        / _pixels(axis, window, image[axis], counted[axis])
        for axis in range(2)
    ]
    sums = np.outer(*shares) * math.prod(window.shape)
    return x.to(avg_pool(op.name, maps, padded, sums))


def _pool_window(op: Operation, x: Value) -> Window:
    size = op.field("kernel_shape", ())
    if len(size) != 2 or int(op.field("storage_order", 0)):
        raise op.refused("is no pool over two axes")
    return _window(op, tuple(map(int, size)), x.layer.shape[1:], bool(op.field("ceil_mode", 0)))


def _pixels(axis: int, window: Window, length: int, pads: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Returns how many pixels of an axis, or of its given padding, each window has."""
    sizes = (window.shape[axis] - 1) * window.dilation[axis] + 1
    count = (length + sum(window.pads[axis]) - sizes) // window.strides[axis] + 1
    starts = np.arange(count) * window.strides[axis] - window.pads[axis][0]
    ends = np.minimum(starts + sizes, length + pads[1])
    return ends - np.maximum(starts, -pads[0])


def global_pool(op: Operation) -> Value:
    """Reads GlobalAveragePool."""
    x = op.value(axes="NCHW")
    return x.to(global_avg_pool(op.name, x.layer))


def reduce_mean(op: Operation) -> Value:
    """Reads ReduceMean over height and width."""
    x, axes = op.value(), op.numbers("axes", 1)
    if len(x.axes) != 4 or axes is None or {axis % 4 for axis in axes} != {*x.spatial}:
        raise op.refused("is no mean over height and width")
    layer = global_avg_pool(op.name, x.layer)
    return x.to(layer) if op.field("keepdims", 1) else Value(layer, "NC")


def pad(op: Operation) -> Value:
    """Reads Pad of maps with zeros."""
    x, pads, value = op.value(), op.numbers("pads", 1), op.constant(2, op.field("value", 0.0))
    mode = _text(op.field("mode", "constant"))
    if mode != "constant" or np.size(value) != 1 or float(np.ravel(value)[0]) != 0:
        raise op.refused("pads with other numbers than zeros")
    if pads is None or len(pads) != 8 or len(x.axes) != 4 or op.constant(3) is not None:
        raise op.refused("does not pad maps")
    sides = [(pads[axis], pads[axis + 4]) for axis in x.spatial]
    if sum(map(sum, sides)) != sum(pads) or min(pads) < 0 or max(pads) > MOST_PADDING:
        raise op.refused("pads more than height and width")
    if not any(pads):
        return x
    channels, *image = x.layer.shape
    height, width = (length + sum(side) for length, side in zip(image, sides, strict=True))
    return x.to(op.layer("pad", (channels, height, width), settings=tuple(sides)))
