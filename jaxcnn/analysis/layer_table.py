"""The layer-by-layer account of a network."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from flax import linen as nn

from jaxcnn.analysis import receptive_fields
from jaxcnn.analysis.receptive_fields import ReceptiveField
from jaxcnn.analysis.tracing.graph import Graph, Node, trace_shapes


class Row(NamedTuple):
    """A layer; what it counts is for one image.

    Attributes:
      layer: its name; see `Node.name`.
      kind: see `Node.kind`; "unused" for parameters that the network does not use at test time.
      output: its shape (H, W, C) or (C,).
      units: values of the output.
      params: parameters; those of a shared layer are in the row of its first use.
      macs: multiply-adds of convolutions and products; see `count_macs`.
      receptive_field: None where no pixel is seen.
      detail: hyper-parameters.
      connections: what LeCun et al. 1998 count (§II.B): every weight and every bias, once for each
        unit that uses it; 0 of layers without trainable connections.
      activation_bytes: of the output.
      groups: number of groups of a convolution; 1 otherwise.
    """

    layer: str
    kind: str
    output: tuple[int, ...]
    units: int
    params: int
    macs: int
    receptive_field: ReceptiveField | None
    detail: str
    connections: int
    activation_bytes: int
    groups: int = 1

    @property
    def stage(self) -> str:
        """The first part of the name: "stage1", or the layer's own name outside of stages."""
        return self.layer.partition("/")[0]


class Summary(NamedTuple):
    """The layers of a network; made by `summary`.

    Attributes:
      input_shape: (H, W, C).
      rows: in the order of computation.
      notes: sentences about the whole, such as the share of parameters in dense layers.
    """

    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        """All parameters."""
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        """All multiply-adds of one image."""
        return sum(row.macs for row in self.rows)


def summary(model: nn.Module, input_shape: Sequence[int]) -> Summary:
    """Returns one row for every layer of a network; nothing is computed or allocated.

    The sums of the rows are the network's parameters and multiply-adds. Layers are those of the
    network at test time; parameters that it does not use there, such as those of auxiliary heads,
    have a row of the kind "unused" for each module.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C) of an image.
    """
    return of_graph(trace_shapes(model, input_shape))


def of_graph(graph: Graph) -> Summary:
    """Returns the rows of a traced network; see `summary`."""
    sizes = graph.sizes
    fields = receptive_fields.of_graph(graph)
    rows = [_row(node, sizes, fields.get(node.name)) for node in graph.nodes]
    unused: dict[str, int] = {}
    for name in graph.unused:
        module = name.rpartition("/")[0]
        unused[module] = unused.get(module, 0) + sizes[name]
    rows += [Row(name, "unused", (), 0, size, 0, None, "", 0, 0) for name, size in unused.items()]
    return Summary(graph.input_shape, tuple(rows), tuple(_notes(graph, rows)))


def _row(node: Node, sizes: Mapping[str, int], field: ReceptiveField | None) -> Row:
    units, params = math.prod(node.shape), sum(sizes[name] for name in node.parameters)
    places = math.prod(node.shape[:-1])
    weights = params if params else node.macs // places  # of a layer that shares its parameters
    connections = {
        "conv": weights * places,
        "dense": weights,
        "add": params * places,
        "minus_distances": node.macs,
    }
    if node.kind == "subsampling":  # LeNet-5's: a coefficient and a bias for each map
        connections[node.kind] = units * (_taps(node.detail) + 1)
    return Row(
        node.name,
        node.kind,
        node.shape,
        units,
        params,
        node.macs,
        field,
        node.detail,
        connections.get(node.kind, 0),
        units * node.dtype.itemsize,
        int(found[1]) if (found := re.search(r"groups (\d+)", node.detail)) else 1,
    )


def _taps(detail: str) -> int:
    """Returns the number of inputs of a unit of a pool, described as "2x2, stride 2"."""
    return math.prod(map(int, detail.partition(",")[0].split("x")))


def _notes(graph: Graph, rows: Sequence[Row]) -> Iterator[str]:
    total = sum(row.params for row in rows)
    by_kind: dict[str, int] = defaultdict(int)
    for row in rows:
        by_kind[row.kind] += row.params
    shares = sorted(by_kind.items(), key=lambda one: -one[1])
    if total:
        listed = (f"{kind} {size / total:.1%}" for kind, size in shares if size)
        yield f"parameters: {', '.join(listed)}"
    units = sum(row.units for row in rows if row.connections)
    yield f"units of layers with connections: {units:,}"
    if connections := sum(row.connections for row in rows):
        yield f"connections: {connections:,}"
    yield from _separable(graph, rows)
    yield from _dense_blocks(graph)


def _separable(graph: Graph, rows: Sequence[Row]) -> Iterator[str]:
    """Howard et al., "MobileNets", 2017, §3.1: 1/N + 1/D² of the cost of a full convolution."""
    by_name = {row.layer: row for row in rows}
    cost = full = 0
    for node in graph.nodes:
        depthwise = _depthwise_before(graph, node) if node.kind == "conv" else None
        if depthwise is not None:
            row, first = by_name[node.name], by_name[depthwise]
            channels, places = first.output[-1], math.prod(row.output[:-1])
            cost += row.macs + first.macs
            full += places * row.output[-1] * channels * _taps(first.detail)
    if full:
        yield f"depthwise separable convolutions: {cost / full:.1%} of full ones (1/N + 1/D²)"


def _depthwise_before(graph: Graph, node: Node) -> str | None:
    """Returns the depthwise convolution whose output, normalised or activated, a 1x1 one takes."""
    if not node.detail.startswith("1x1"):
        return None
    name: str = node.inputs[0] if node.inputs else ""
    while name in graph.by_name:
        one = graph.by_name[name]
        if one.kind == "conv":
            depthwise = one.detail.endswith(f"groups {one.shape[-1]}") and one.shape[-1] > 1
            return name if depthwise else None
        if len(one.inputs) != 1 or one.kind not in ("batch_norm", "relu", "relu6"):
            return None
        name = one.inputs[0]
    return None


def _dense_blocks(graph: Graph) -> Iterator[str]:
    """Huang et al., "Densely Connected Convolutional Networks", 2017, §1: L(L+1)/2 connections."""
    chains: dict[str, int] = defaultdict(int)
    for node in graph.nodes:
        earlier = (graph.by_name.get(name) for name in node.inputs)
        joins = [one for one in earlier if one and one.kind == "concatenate"]
        same = any(one.module == node.module for one in joins)
        if node.kind == "concatenate" and (same or not chains[node.module]):
            chains[node.module] += 1
    for module, layers in chains.items():
        if layers > 1 and module:
            number = layers * (layers + 1) // 2
            yield f"{module}: {layers} layers, {number:,} direct connections (L(L+1)/2)"
