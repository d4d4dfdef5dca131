"""What residual units add to their shortcuts, and what later layers take from earlier ones.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, §4.2
and figure 7: the responses of residual networks are small. The same, "Identity Mappings in Deep
Residual Networks", 2016, arXiv 1603.05027, eq. 4: where shortcuts and what follows the additions
are identities, x_L = x_l + Σ F(x_i). Huang, Liu, van der Maaten and Weinberger, "Densely Connected
Convolutional Networks", 2016, arXiv 1608.06993, figure 5: the weights of a dense block show which
earlier layers a layer uses.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.signal import root_mean_square
from jaxcnn.analysis.tracing.graph import IMAGES, Graph, Node, trace
from jaxcnn.errors import UserError

WEIGHTED = ("conv", "dense")
RECTIFIERS = ("relu", "relu6", "leaky_relu", "prelu")
ONE_TO_ONE = ("batch_norm", "relu", "dropout", "global_avg_pool", "custom_vjp_call")  # of channels


class Unit(NamedTuple):
    """The parts of a residual unit.

    Attributes:
      sum: name of the layer that adds them.
      branch: name of the layer that ends the branch, F(x).
      shortcut: name of the layer that ends the shortcut: x, or its projection.
    """

    sum: str
    branch: str
    shortcut: str


class Sizes(NamedTuple):
    """Root mean squares in a residual unit, over images, positions and channels.

    Attributes:
      branch: of F(x).
      shortcut: of x, or of its projection.
      sum: of x + F(x).
    """

    branch: jax.Array
    shortcut: jax.Array
    sum: jax.Array


class SumForm(NamedTuple):
    """x_L beside x_l + Σ F(x_i).

    Attributes:
      gap: largest difference.
      size: largest value of x_L.
      units: how many F are added.
    """

    gap: jax.Array
    size: jax.Array
    units: int


def residual_units(graph: Graph) -> list[Unit]:
    """Returns the residual units of a network, in order.

    They are the sums of two layers that come from a common one, where one side has more weights
    than the other, which has no ReLU: the shortcut.
    """
    place = {IMAGES: -1} | {node.name: number for number, node in enumerate(graph.nodes)}
    ancestors: dict[str, set[str]] = {IMAGES: {IMAGES}}
    units = []
    for node in graph.nodes:
        ancestors[node.name] = {node.name}.union(*(ancestors[name] for name in node.inputs))
        if node.kind != "add" or len(node.inputs) != 2 or len(node.shape) != 3:
            continue
        first, second = node.inputs
        common = ancestors[first] & ancestors[second]
        junction = max(common, key=place.__getitem__, default=None)
        if junction is None:
            continue
        sides = sorted((*_way(graph, junction, name, place), name) for name in node.inputs)
        (few, rectified, shortcut), (many, _, branch) = sides
        if few < many and not rectified:
            units.append(Unit(node.name, branch, shortcut))
    return units


def _way(graph: Graph, start: str, end: str, place: dict[str, int]) -> tuple[int, bool]:
    """Returns the most weighted layers on a way between two layers, and whether ReLUs are on it."""
    reached = {start: (0, False)}
    for node in graph.nodes[place[start] + 1 : place[end] + 1]:
        before = [reached[name] for name in node.inputs if name in reached]
        if before:
            weights = max(count for count, _ in before) + (node.kind in WEIGHTED)
            rectified = any(one for _, one in before) or node.kind in RECTIFIERS
            reached[node.name] = (weights, rectified)
    return reached[end]


def branch_sizes(model: nn.Module, variables: Any, images: jax.Array) -> dict[str, Sizes]:
    """Returns the size of F(x) and x in every residual unit, by the name of its sum.

    Args:
      model: takes (images, train).
      variables: of the model.
      images: (N, H, W, C).

    Raises:
      UserError: if the network has no residual units.
    """
    graph = trace(model, variables, images)
    units = _units(graph)
    kept = graph.run(variables, images, keep={name for unit in units for name in unit})[1]
    return {
        unit.sum: Sizes(
            root_mean_square(kept[unit.branch]),
            root_mean_square(kept[unit.shortcut]),
            root_mean_square(kept[unit.sum]),
        )
        for unit in units
    }


def _units(graph: Graph) -> list[Unit]:
    units = residual_units(graph)
    if not units:
        raise UserError("the network has no residual units: choose one with shortcuts")
    return units


def sum_forms(model: nn.Module, variables: Any, images: jax.Array) -> dict[str, SumForm]:
    """Returns, for every run of units of one shape, how far x_L is from x_l + Σ F(x_i).

    In a pre-activation network that is rounding. Where a ReLU follows each addition it is the part
    that these ReLUs cut off.

    Args:
      model: takes (images, train).
      variables: of the model.
      images: (N, H, W, C).

    Returns:
      By the names of the first and the last sum, "stage1/block1/add to stage1/block3/add".

    Raises:
      UserError: if the network has no residual units.
    """
    graph = trace(model, variables, images)
    runs = _runs(graph, _units(graph))
    names = {name for run in runs for unit in run for name in unit} - {IMAGES}
    kept = {IMAGES: images, **graph.run(variables, images, keep=names)[1]}
    found = {}
    for run in runs:
        last = kept[run[-1].sum]
        total = kept[run[0].shortcut] + sum(kept[unit.branch] for unit in run)
        gap = jnp.max(jnp.abs(last - total))
        found[f"{run[0].sum} to {run[-1].sum}"] = SumForm(gap, jnp.max(jnp.abs(last)), len(run))
    return found


def _runs(graph: Graph, units: list[Unit]) -> list[list[Unit]]:
    """Returns units in runs: the shortcut of each is the sum of the one before, or its ReLU."""
    sources = {node.name: node for node in graph.nodes}
    runs: list[list[Unit]] = []
    for unit in units:
        source = unit.shortcut
        if source in sources and sources[source].kind in RECTIFIERS:
            source = sources[source].inputs[0]
        if runs and runs[-1][-1].sum == source:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def feature_reuse(model: nn.Module, variables: Any, images: Any) -> dict[str, dict[str, jax.Array]]:
    """Returns how strongly each layer of a dense block weighs the layers before it.

    In a dense block each layer takes the outputs of one layer more than the layer before it.

    Args:
      model: a DenseNet, or another network with such blocks; takes (images, train).
      variables: of the model.
      images: (N, H, W, C), an array or its shape.

    Returns:
      By layer (a convolution, or the classifier) and source, the mean absolute weight.

    Raises:
      UserError: if the network has no dense blocks.
    """
    graph = trace(model, variables, images)
    weights = traverse_util.flatten_dict(variables["params"], sep="/")
    nodes = {node.name: node for node in graph.nodes}
    found = {}
    for node in graph.nodes:
        kernels = [name for name in node.parameters if weights[name].ndim > 1]
        if node.kind not in WEIGHTED or len(kernels) != 1:
            continue
        sources = _sources(nodes, node.inputs[0])
        kernel, sizes = weights[kernels[0]], [size for _, size in sources]
        if len(sources) < 2 or kernel.shape[-2] != sum(sizes):
            continue
        parts = jnp.split(jnp.abs(kernel), np.cumsum(sizes)[:-1], axis=-2)
        means = (jnp.mean(part, dtype=jnp.float32) for part in parts)
        found[node.name] = dict(zip((name for name, _ in sources), means, strict=True))
    lengths: dict[str, set[int]] = {}  # by the first source, which a dense block keeps
    for row in found.values():
        lengths.setdefault(next(iter(row)), set()).add(len(row))
    dense = {layer: row for layer, row in found.items() if len(lengths[next(iter(row))]) > 1}
    if not dense:
        raise UserError("the network has no dense blocks: choose a DenseNet")
    return dense


def _sources(nodes: dict[str, Node], name: str) -> list[tuple[str, int]]:
    """Returns the layers that a concatenation, maybe activated, is made of, and their channels."""
    if name not in nodes:
        return []
    node = nodes[name]
    if node.kind == "concatenate":
        return [part for one in node.inputs for part in _sources(nodes, one)]
    before = nodes.get(node.inputs[0]) if len(node.inputs) == 1 else None
    if before and node.kind in ONE_TO_ONE and node.shape[-1] == before.shape[-1]:
        deeper = _sources(nodes, before.name)
        if len(deeper) > 1:
            return deeper
    return [(name, node.shape[-1])]
