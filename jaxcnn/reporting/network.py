"""The section of a page about the network of a run: its filters and its layers."""

import numpy as np
from flax import traverse_util

from jaxcnn.analysis.graph import IMAGES, trace_shapes
from jaxcnn.figures.filters import filter_sheet
from jaxcnn.figures.page import Block, Card, Cards, Picture
from jaxcnn.reporting.runs import Examined


def network(run: Examined) -> list[Block]:
    """Returns the first layer's filters."""
    return filters(run)


def filters(run: Examined) -> list[Block]:
    """Returns the filters of the first convolution as pictures; nothing if they are 1x1."""
    graph = trace_shapes(run.model, run.image_shape)
    weights = traverse_util.flatten_dict(run.variables["params"], sep="/")
    first = [node for node in graph.nodes if node.kind == "conv" and node.inputs == (IMAGES,)]
    for node in first:
        kernels = [np.asarray(weights[name]) for name in node.parameters if name in weights]
        for kernel in kernels:
            if kernel.ndim == 4 and kernel.shape[0] * kernel.shape[1] > 1:
                return [_pictures(kernel, node.name)]
    return []


def _pictures(kernel: np.ndarray, name: str) -> Block:
    height, width, channels, count = kernel.shape
    pictures = [
        Picture(filter_sheet(kernel, shared=shared).pixels, caption)
        for shared, caption in ((True, "one scale for all"), (False, "each at a scale of its own"))
    ]
    mean = "" if channels in (1, 3) else ", their mean over the input channels"
    about = ("Filters of", f"{name}:", f"{count} of {height}x{width}x{channels}{mean}; zero is")
    zero = "middle grey" if channels == 3 else "white, positive weights are red, negative blue"
    return Cards([Card(pictures, [(*about, zero)])])
