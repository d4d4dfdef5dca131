"""Compares two networks layer by layer, and pairs their layers.

Both networks are graphs of `Layer`s: ours is read from its traced program (`traced`), the
other one from an ONNX file (`layers`). Two layers are equal if they compute the same function
of equal layers, whatever their weights. A layer's number stands for this function. The numbers of
both networks come from one table, so the networks are equal if their outputs have the same number.
"""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.ops.windows import Window

Shape = tuple[int, ...]  # (C, H, W)


@dataclasses.dataclass(eq=False)
class Layer:
    """An operation of a network.

    Attributes:
      kind: "images", "conv", "norm", "relu", "max_pool", "avg_pool", "global_avg_pool", "add",
        "concat", "lrn", "flatten", …; a dense layer is a "conv" whose kernel covers its input.
      name: for messages.
      inputs: layers.
      shape: (C, H, W) of the output; (C, 1, 1) of a vector.
      settings: what else distinguishes the function, apart from the weights.
      weights: by their names: "kernel", "bias"; "scale", "bias", "mean", "var" of a norm.
      norms: norms that follow and that nothing else takes the input of.
      text: for messages: "conv 3x3, 64, stride 2, padding 1"; the kind if it is empty.
    """

    kind: str
    name: str
    inputs: tuple["Layer", ...]
    shape: Shape
    settings: Hashable = ()
    weights: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    norms: tuple["Layer", ...] = ()
    text: str = ""

    def __str__(self) -> str:
        return self.text or self.kind


@dataclasses.dataclass(frozen=True)
class LayerGraph:
    """A network: layers in the order of computation, the first of them the images."""

    layers: tuple[Layer, ...]
    output: Layer


def windowed(
    kind: str,
    name: str,
    x: Layer,
    window: Window,
    features: int,
    *,
    settings: Hashable = (),
    weights: Mapping[str, Any] | None = None,
) -> Layer:
    """Returns a convolution or a pool; `settings` are those beside the window.

    Strides that move nowhere, distances of a single tap, and padding that no window reaches do not
    distinguish layers.
    """
    image = (1, *x.shape[1:], x.shape[0])
    sizes = window.outputs(image)
    strides = tuple(
        stride if size > 1 else 1 for stride, size in zip(window.strides, sizes, strict=True)
    )
    dilation = tuple(
        apart if taps > 1 else 1 for apart, taps in zip(window.dilation, window.shape, strict=True)
    )
    before = tuple(first for first, _ in window.pads)
    return Layer(
        kind,
        name,
        (x,),
        (features, *sizes),
        (tuple(window.shape), strides, before, dilation, settings),
        weights or {},
        text=f"{kind} {_text(window, features if kind == 'conv' else 0, settings)}",
    )


def dense(name: str, x: Layer, features: int, weights: Mapping[str, Any]) -> Layer:
    """Returns a dense layer as a convolution; its kernel is (features, C, H, W).

    Args:
      name: see `Layer`.
      x: a vector; if it is a flattened map, the kernel covers the map.
      features: of the output.
      weights: see `Layer`.
    """
    maps = x.inputs[0] if x.kind == "flatten" else x
    whole = Window(maps.shape[1:], (1, 1), ((0, 0), (0, 0)))
    layer = windowed("conv", name, maps, whole, features, settings=1, weights=weights)
    layer.text = f"dense {features}"
    return layer


def flatten(name: str, x: Layer) -> Layer:
    """Returns a map as a vector; a map of one pixel is one already."""
    if x.shape[1:] == (1, 1):
        return x
    return Layer("flatten", name, (x,), (x.shape[0] * x.shape[1] * x.shape[2], 1, 1))


def global_avg_pool(name: str, x: Layer) -> Layer:
    """Returns the average of a map; a map of one pixel is its own."""
    if x.shape[1:] == (1, 1):
        return x
    return Layer("global_avg_pool", name, (x,), (x.shape[0], 1, 1))


def avg_pool(name: str, x: Layer, window: Window, sums: np.ndarray) -> Layer:
    """Returns an average pool, which is a global one if its window is the map.

    Args:
      name: see `Layer`.
      x: its input.
      window: of the pool.
      sums: (H', W'), the window's size times the pool of a map of ones. Pools of the same window
        differ in their divisors at the border.
    """
    if tuple(window.shape) == x.shape[1:] and not any(map(any, window.pads)):
        return global_avg_pool(name, x)
    shares = np.round(np.asarray(sums, np.float32), 2).tobytes()
    return windowed("avg_pool", name, x, window, x.shape[0], settings=shares)


def concat(name: str, parts: Iterable[Layer]) -> Layer:
    """Returns the joined channels; joined parts of parts are the parts.

    Raises:
      UserError: if there are more than a thousand parts.
    """
    flat = tuple(one for x in parts for one in (x.inputs if x.kind == "concat" else (x,)))
    if len(flat) > 1000:  # each step of a hostile file could double them
        raise UserError(f"{name} joins {len(flat):,} arrays: this is no network of ours")
    if len(flat) == 1:
        return flat[0]
    channels = sum(x.shape[0] for x in flat)
    return Layer("concat", name, flat, (channels, *flat[0].shape[1:]), text=f"concat {channels}")


def scaled(name: str, x: Layer, slope: np.ndarray, offset: np.ndarray) -> Layer:
    """Returns slope·x + offset, both [C] and constants of the network, not weights."""
    if x.kind == "scale":
        slopes, offsets = map(np.asarray, x.settings)  # type: ignore[call-overload]
        slope, offset, (x,) = slope * slopes, slope * offsets + offset, x.inputs
    if (slope == 1).all() and not offset.any():
        return x
    wide = (np.asarray(each, np.float64) for each in (slope, offset))
    settings = tuple(tuple(np.round(each, 5).tolist()) for each in wide)
    alike = len({*settings[0]}) == 1 and not any(settings[1])
    text = f"scale {settings[0][0]}" if alike else "scale and offset of each channel"
    return Layer("scale", name, (x,), x.shape, settings, text=text)


def lrn(name: str, x: Layer, constants: Sequence[float]) -> Layer:
    """Returns a local response normalisation.

    Args:
      name: see `Layer`.
      x: its input.
      constants: (size, k, alpha, beta); alpha is not divided by the size.
    """
    size, *others = constants
    settings = (size, *map(shortest, others))
    return Layer("lrn", name, (x,), x.shape, settings, text=f"lrn {settings}")


def shortest(number: float) -> float:
    """Returns the shortest decimal of a float32's value: 1e-05 for 9.99999974737875e-06."""
    return float(str(np.float32(number)))


def with_norms(graph: LayerGraph) -> LayerGraph:
    """Returns a graph without unused layers, whose norms belong to the layer before them.

    A norm belongs to a convolution, or to another norm, if nothing else takes its input. A file
    with norms and one whose norms are folded into convolutions thereby have the same layers.
    """
    needed = {graph.output}
    for layer in reversed(graph.layers):
        if layer in needed:
            needed.update(layer.inputs)
    uses = Counter(x for layer in graph.layers if layer in needed for x in layer.inputs)
    uses[graph.output] += 1
    renewed: dict[Layer, Layer] = {}
    for layer in graph.layers:
        if layer not in needed:
            continue
        if layer.kind == "norm" and uses[layer.inputs[0]] == 1:
            owner = renewed[layer.inputs[0]]
            if owner.kind in ("conv", "norm"):
                owner.norms += (layer,)
                renewed[layer] = owner
                continue
        inputs = tuple(renewed[x] for x in layer.inputs)
        renewed[layer] = dataclasses.replace(layer, inputs=inputs)
    return LayerGraph(tuple(dict.fromkeys(renewed.values())), renewed[graph.output])


def pair(ours: LayerGraph, theirs: LayerGraph) -> list[tuple[Layer, Layer]]:
    """Returns the pairs of equal layers that have weights, in our order.

    Raises:
      UserError: if the networks are not equal; the message names the first difference.
    """
    table: dict[Hashable, int] = {}
    mine, their = _numbers(ours, table), _numbers(theirs, table)
    if mine[ours.output] != their[theirs.output]:
        raise UserError(_difference(ours, theirs, mine, their))
    waiting, seen = [(ours.output, theirs.output)], set[tuple[Layer, Layer]]()
    while waiting:
        one, other = waiting.pop()
        if (one, other) in seen:
            continue
        seen.add((one, other))
        inputs = other.inputs
        if [mine[x] for x in one.inputs] != [their[x] for x in inputs]:
            inputs = inputs[::-1]  # of a sum
        waiting.extend(zip(one.inputs, inputs, strict=True))
    pairs = {one: other for one, other in seen if one.kind in ("conv", "norm")}
    if len(set(pairs.values())) < len(pairs) or len(pairs) < sum(
        one.kind in ("conv", "norm") for one, _ in seen
    ):
        raise UserError("it uses the weights of one layer in several places, which ours does not")
    return [(layer, pairs[layer]) for layer in ours.layers if layer in pairs]


def _numbers(graph: LayerGraph, table: dict[Hashable, int]) -> dict[Layer, int]:
    numbers: dict[Layer, int] = {}
    for layer in graph.layers:
        key = (layer.kind, layer.settings, layer.shape, _of_inputs(layer, numbers))
        numbers[layer] = table.setdefault(key, len(table))
    return numbers


def _of_inputs(layer: Layer, numbers: Mapping[Layer, int]) -> tuple[int, ...]:
    """Returns the numbers of a layer's inputs; those of a sum have no order."""
    inputs = [numbers[x] for x in layer.inputs]
    return tuple(sorted(inputs) if layer.kind == "add" else inputs)


def _difference(
    ours: LayerGraph,
    theirs: LayerGraph,
    mine: Mapping[Layer, int],
    their: Mapping[Layer, int],
) -> str:
    """Returns the first difference of two networks, in words."""
    known, also = set(their.values()), set(mine.values())
    one = next((layer for layer in ours.layers if mine[layer] not in known), None)
    if one is None:
        other = next((layer for layer in theirs.layers if their[layer] not in also), theirs.output)
        return f"the file has {other.name} ({other}), and our network ends before it"
    inputs = _of_inputs(one, mine)
    beside = [
        layer
        for layer in theirs.layers
        if their[layer] not in also and _of_inputs(layer, their) == inputs
    ]
    alike = [layer for layer in beside if layer.kind == one.kind] or beside
    if alike:
        return f"our {one.name} is {one}, and {alike[0].name} in the file is {alike[0]}"
    return f"our {one.name} ({one}) is not in the file"


def _text(window: Window, features: int, settings: Hashable) -> str:
    parts = ["x".join(map(str, window.shape))] + ([str(features)] if features else [])
    if set(window.strides) != {1}:
        parts.append(f"stride {_short(window.strides)}")
    if any(map(any, window.pads)):
        pads = [f"{a}" if a == b else f"{a}-{b}" for a, b in window.pads]
        parts.append(f"padding {_short(pads)}")
    if set(window.dilation) != {1}:
        parts.append(f"dilation {_short(window.dilation)}")
    if features and settings != 1:
        parts.append(f"groups {settings}")
    return ", ".join(parts)


def _short(values: Iterable[Any]) -> str:
    texts = list(map(str, values))
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
