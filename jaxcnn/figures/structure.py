"""The structure diagram of a network, drawn from what it computes.

Graphviz arranges the boxes: it is the most widely kept library for directed graphs, it knows the
sizes of boxes and nested groups, and pygraphviz brings it along as a wheel.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flax import linen as nn

from jaxcnn.analysis.tracing.graph import IMAGES, Graph, Node, trace_shapes
from jaxcnn.errors import UserError, nearest
from jaxcnn.figures import page, style

MISSING = "a structure diagram needs pygraphviz: pip install 'jaxcnn[plots]'"
LISTED = 4  # layers of a closed module that are listed; of more, it shows the number
COLORS = {  # by kind; others are plain
    **dict.fromkeys(("conv", "dense", "matmul", "minus_distances"), style.PALETTE[0]),
    **dict.fromkeys(
        ("max_pool", "avg_pool", "subsampling", "global_avg_pool", "global_max_pool"),
        style.PALETTE[1],
    ),
    **dict.fromkeys(("add", "concatenate", "multiply", "divide", "maximum"), style.PALETTE[2]),
}


class Part(NamedTuple):
    """A box of a diagram: a layer, a module, or several equal modules in a row.

    Attributes:
      name: its path.
      nodes: its layers.
      repeats: the number of equal modules; `nodes` are those of the first.
      last: path of the last of them.
    """

    name: str
    nodes: tuple[Node, ...]
    repeats: int = 1
    last: str = ""

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer, which has nothing inside."""
        return len(self.nodes) == 1 and self.nodes[0].name == self.name


def structure(
    model: nn.Module, input_shape: Sequence[int], depth: int = 2, module: str = ""
) -> str:
    """Returns the structure of a network as SVG, modules as boxes around their layers.

    Arrows are labelled with shapes (H×W×C). Equal modules in a row are drawn once.

    Args:
      model: takes an array (1, *input_shape).
      input_shape: (H, W, C) of an image.
      depth: levels of modules that are opened: 0 shows the stages as boxes, 1 their units, 2 the
        layers of the units.
      module: path of the module whose inside is drawn, such as "stage1/block1"; "" is the network.

    Raises:
      UserError: if pygraphviz is missing, or there is no such module.
    """
    return of_graph(trace_shapes(model, input_shape), depth, module)


def of_graph(graph: Graph, depth: int = 2, module: str = "") -> str:
    """Returns the structure of a traced network; see `structure`."""
    start = f"{module}/" if module else ""
    nodes = [node for node in graph.nodes if node.name.startswith(start)]
    if not nodes:
        parts = (node.name.split("/")[:-1] for node in graph.nodes)
        modules = {"/".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}
        raise UserError(f"no module {module!r}: {nearest(module, modules)}")
    title = f"structure of {module or 'a network'} for images {_shape(graph.input_shape)}"
    return _svg(_lines(graph, nodes, module, depth), title)


def blocks(graph: Graph) -> list[page.Block]:
    """Returns the structure for a page: a diagram of the stages, and each opens to its inside.

    Args:
      graph: of the network.

    Raises:
      UserError: if pygraphviz is missing.
    """
    return _opened(graph, graph.nodes, "")


def _opened(graph: Graph, nodes: Sequence[Node], path: str) -> list[page.Block]:
    svg = _svg(_lines(graph, nodes, path, 0), f"structure of {path or 'the network'}")
    inside = [
        page.Fold(_title(part, graph.sizes), _opened(graph, part.nodes, part.name))
        for part in parts_of(nodes, path)
        if not part.is_layer
    ]
    return [page.Html(page.diagram(svg)), *inside]


def parts_of(nodes: Sequence[Node], path: str) -> list[Part]:
    """Returns the layers and modules directly within a module, equal modules in a row as one.

    Args:
      nodes: all layers within the module.
      path: of the module; "" is the network.
    """
    members: dict[str, list[Node]] = {}
    for node in nodes:
        rest = node.name[len(path) + 1 if path else 0 :]
        name = f"{path}/{rest.partition('/')[0]}".lstrip("/")
        inner = node.name != name and not _is_operation(node, path)
        members.setdefault(name if inner else node.name, []).append(node)
    parts: list[Part] = []
    for name, own in members.items():
        part = Part(name, tuple(own), last=name)
        previous = parts[-1] if parts else None
        if previous and _form(previous) == _form(part) and _follows(part, members[previous.last]):
            parts[-1] = previous._replace(repeats=previous.repeats + 1, last=name)
        else:
            parts.append(part)
    return parts


def _follows(part: Part, previous: Sequence[Node]) -> bool:
    """Returns whether a module takes the outputs of another one and nothing else."""
    own = {node.name for node in part.nodes}
    sources = {source for node in part.nodes for source in node.inputs} - own
    return not part.is_layer and sources <= {node.name for node in previous}


def _is_operation(node: Node, path: str) -> bool:
    return node.module == path and node.name.startswith(path)


def _form(part: Part) -> Any:
    """Returns what two equal modules have in common."""
    start = len(part.name)
    names = {node.name: node.name[start:] for node in part.nodes}

    def form(node: Node) -> Any:
        inputs = [names.get(one, "") for one in node.inputs]
        return names[node.name], node.kind, node.detail, node.shape, node.macs, inputs

    return list(map(form, part.nodes))


def _title(part: Part, sizes: Mapping[str, int]) -> str:
    return f"{part.name}{': '.join(_heading(part, sizes))}"


def _heading(part: Part, sizes: Mapping[str, int]) -> tuple[str, str]:
    """Returns what follows the name of a module, and its size."""
    more, layers = "", f"{len(part.nodes)} layers"
    if part.repeats > 1:
        more = f" … {part.last.rpartition('/')[2]} ({part.repeats} equal)"
        layers += " each"
    return more, f"{layers}, {_params(part, sizes):,} parameters"


def _params(part: Part, sizes: Mapping[str, int]) -> int:
    own = sum(sizes[name] for node in part.nodes for name in node.parameters)
    return own * part.repeats


def _lines(graph: Graph, nodes: Sequence[Node], path: str, depth: int) -> list[str]:
    """Returns the inside of a module in Graphviz's language."""
    boxes: dict[str, str] = {}  # box of each layer that is drawn
    lines: list[str] = []
    _draw(nodes, path, graph.sizes, depth, lines, boxes)
    shapes = {IMAGES: graph.input_shape} | {node.name: node.shape for node in graph.nodes}
    inside = {node.name for node in nodes}
    used = {source for node in nodes for source in node.inputs}
    outside = {source for node in graph.nodes if node.name not in inside for source in node.inputs}
    edges: dict[tuple[str, str], str] = {}
    for node in nodes:
        box = boxes.get(node.name)
        for source in node.inputs:
            start = boxes.get(source) if source in inside else "input"
            if start and box and start != box:
                edges[start, box] = _shape(shapes[source])
        if box and (node.name in outside or node.name not in used):
            edges[box, "output"] = _shape(node.shape)
    for end in ("input", "output"):
        if any(end in edge for edge in edges):
            lines.append(f'"{end}" [shape=plaintext, label="{end}"];')
    for (start, end), label in edges.items():
        lines.append(f'{_quoted(start)} -> {_quoted(end)} [label=" {label}"];')
    return lines


def _draw(
    nodes: Sequence[Node],
    path: str,
    sizes: Mapping[str, int],
    depth: int,
    lines: list[str],
    boxes: dict[str, str],
) -> None:
    for part in parts_of(nodes, path):
        opened = depth > 0 and not part.is_layer
        if opened:
            lines.append(f"subgraph {_quoted('cluster_' + part.name)} {{")
            more, size = _heading(part, sizes)
            name = part.name[len(path) + 1 if path else 0 :]
            lines.append(f"labeljust=l; label={_text([name + more, size])};")
            _draw(part.nodes, part.name, sizes, depth - 1, lines, boxes)
            lines.append("}")
        else:
            boxes.update((node.name, part.name) for node in part.nodes)
            lines.append(_box(part, path, sizes))
        if part.repeats > 1:  # what follows takes the output of the last of them
            _link_last(part, nodes, boxes)


def _link_last(part: Part, nodes: Sequence[Node], boxes: dict[str, str]) -> None:
    """Lets the output of the last of equal modules leave the first, which is drawn."""
    start = {node.name[len(part.name) :]: boxes[node.name] for node in part.nodes}
    for node in nodes:
        inner = node.name[len(part.last) :]
        if node.name.startswith(f"{part.last}/") and inner in start:
            boxes.setdefault(node.name, start[inner])


def _box(part: Part, path: str, sizes: Mapping[str, int]) -> str:
    name = part.name[len(path) + 1 if path else 0 :]
    texts, color = [name], style.GREY
    if part.is_layer:
        (node,) = part.nodes
        texts = [name] if node.kind in name else [name, node.kind]
        texts += [node.detail] if node.detail else []
        color = COLORS.get(node.kind, style.GREY)
    else:
        if part.repeats > 1:
            texts = [f"{name} … {part.last.rpartition('/')[2]} ({part.repeats}×)"]
        if len(part.nodes) <= LISTED:
            texts += [f"{node.kind} {node.detail}".rstrip() for node in part.nodes]
        else:
            texts.append(f"{len(part.nodes) * part.repeats} layers")
    if count := _params(part, sizes):
        texts.append(f"{count:,} parameters")
    width = 1.6 if part.is_layer else 2.2
    return f'{_quoted(part.name)} [label={_text(texts)}, color="{color}", penwidth={width}];'


def _text(lines: Sequence[str]) -> str:
    return _quoted(r"\n".join(line.replace("\\", "\\\\") for line in lines))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"'


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def check_installed() -> None:
    """Raises an error unless pygraphviz is installed.

    Raises:
      UserError: naming the package.
    """
    try:
        import pygraphviz  # noqa: F401
    except ImportError:
        raise UserError(MISSING) from None


def _svg(lines: Sequence[str], title: str) -> str:
    """Returns a diagram that Graphviz arranges from top to bottom."""
    check_installed()
    import pygraphviz

    font = 'fontname="sans-serif", fontsize=11'
    head = [
        "digraph {",
        'graph [rankdir=TB, ranksep=0.3, nodesep=0.25, bgcolor="transparent", style=rounded,'
        f' {font}, color="{page.GRID}", fontcolor="{style.INK}"];',
        'node [shape=box, style=rounded, margin="0.12,0.06", height=0.3,'
        f' {font}, fontcolor="{style.INK}"];',
        'edge [arrowsize=0.6, fontname="sans-serif", fontsize=9,'
        f' color="{style.GREY}", fontcolor="{style.GREY}"];',
    ]
    drawing = pygraphviz.AGraph("\n".join([*head, *lines, "}"]))
    svg = drawing.draw(format="svg", prog="dot").decode("utf-8")
    svg = svg[svg.index("<svg") :]
    label = html.escape(title, quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
