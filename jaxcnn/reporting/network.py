"""The section of a page about the network of a run: its filters, layers and structure."""

import numpy as np
from flax import traverse_util

from jaxcnn.analysis import layer_table
from jaxcnn.analysis.tracing.graph import IMAGES, Graph
from jaxcnn.errors import UserError
from jaxcnn.figures import layers, structure
from jaxcnn.figures.filters import filter_sheet
from jaxcnn.figures.page import Block, Card, Cards, Fold, Picture, Text
from jaxcnn.reporting.numbers import count, size
from jaxcnn.reporting.runs import Examined


def network(run: Examined, graph: Graph) -> list[Block]:
    """Returns the first filters, the layer table and the diagram of the structure.

    Args:
      run: any.
      graph: of its network.
    """
    table = layer_table.of_graph(graph)
    memory = size(sum(row.activation_bytes for row in table.rows))
    title = (
        f"{len(table.rows)} layers: {count(table.params)} parameters, {count(table.macs)}"
        f" multiply-adds and {memory} of activations for one image"
    )
    blocks = [*filters(run, graph), Fold(title, layers.blocks(table))]
    try:
        diagram = structure.blocks(graph)
    except UserError as error:  # pygraphviz is missing
        diagram = [Text(str(error), warning=True)]
    return [*blocks, Fold("Structure, each stage opens to its inside", diagram)]


def filters(run: Examined, graph: Graph) -> list[Block]:
    """Returns the filters of the first convolution as pictures; nothing if they are 1x1.

    Args:
      run: any.
      graph: of its network.
    """
    weights = traverse_util.flatten_dict(run.variables["params"], sep="/")
    first = [node for node in graph.nodes if node.kind == "conv" and node.inputs == (IMAGES,)]
    for node in first:
        for name in node.parameters:
            kernel = np.asarray(weights.get(name, 0))
            if kernel.ndim == 4 and kernel.shape[0] * kernel.shape[1] > 1:
                return [_pictures(kernel, node.name)]
    return []


def _pictures(kernel: np.ndarray, name: str) -> Block:
    height, width, channels, number = kernel.shape
    pictures = [
        Picture(filter_sheet(kernel, shared=shared).pixels, caption)
        for shared, caption in ((True, "one scale for all"), (False, "each at a scale of its own"))
    ]
    mean = "" if channels in (1, 3) else ", their mean over the input channels"
    about = ("Filters of", f"{name}:", f"{number} of {height}x{width}x{channels}{mean}; zero is")
    zero = "middle grey" if channels == 3 else "white, positive weights are red, negative blue"
    return Cards([Card(pictures, [(*about, zero)])])
