"""Which layers of a network are looked at where none is named."""

from collections.abc import Sequence

from jaxcnn.analysis.tracing.graph import Graph, Node

# Layers that change the size or the scale of maps, and not what they show.
PASSIVE = {
    *("max_pool", "avg_pool", "global_avg_pool", "local_response_norm", "dropout"),
    *("flatten", "reshape", "slice", "pad", "transpose"),
}
PASSING = ("flatten", "reshape", "dropout")  # kinds that change no value of a vector
MOST = 12


def stage_layers(graph: Graph, most: int = MOST) -> tuple[str, ...]:
    """Returns the last layer with maps of each stage, in the order of computation.

    A stage is a submodule of the network, with the activation behind it. If there are too many,
    evenly spaced ones are returned, the first and the last among them.

    Args:
      graph: of the network.
      most: how many.
    """
    last: dict[str, str] = {}
    stage = ""
    for node in graph.nodes:
        if "/" in node.name or node.parameters:
            stage = node.name.split("/")[0]
        if len(node.shape) == 3 and node.kind not in PASSIVE and stage:
            last[stage] = node.name
    found = list(last.values())
    return tuple(found if len(found) <= most else evenly(found, most))


def evenly(names: Sequence[str], count: int) -> list[str]:
    """Returns so many names, evenly spaced, with the first and the last."""
    places = [round(number * (len(names) - 1) / (count - 1)) for number in range(count)]
    return [names[place] for place in places]


def first_convolution(graph: Graph) -> Node | None:
    """Returns the first convolution, or None."""
    return next((node for node in graph.nodes if node.kind == "conv"), None)


def class_maps_layer(graph: Graph) -> str:
    """Returns the layer with one map for each class whose means are the logits, "" if none is."""
    nodes = {node.name: node for node in graph.nodes}
    node = nodes[graph.output]
    while node.kind in PASSING and len(node.inputs) == 1 and node.inputs[0] in nodes:
        node = nodes[node.inputs[0]]
    if node.kind != "global_avg_pool" or node.inputs[0] not in nodes:
        return ""
    return node.inputs[0]
