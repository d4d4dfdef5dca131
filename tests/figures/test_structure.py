"""The structure diagram: every layer and every parameter once, equal units as one."""

import re
import xml.etree.ElementTree as ET

import pytest

from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.errors import UserError
from jaxcnn.figures import page, structure
from jaxcnn.models import create_model

pytest.importorskip("pygraphviz")


def small(**overrides):
    return create_model("cifar_resnet20", **{"stage_sizes": (3, 1), "width": 4, **overrides})


def texts(svg):
    root = ET.fromstring(svg)  # noqa: S314, our own
    return ["".join(one.itertext()).strip() for one in root.iter() if one.tag.endswith("text")]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cifar_resnet20", {"stage_sizes": (3, 1), "width": 4}),
        ("ladder_mnist_mlp", {"hidden_features": (20, 10, 10, 10)}),  # equal but for their inputs
    ],
)
def test_every_parameter_is_in_one_box(name, fields):
    graph = trace_shapes(create_model(name, **fields), (8, 8, 3))

    def layers(nodes, path):
        for part in structure.parts_of(nodes, path):
            if part.is_layer:
                yield from [(part.nodes[0], 1)]
            else:
                for node, times in layers(part.nodes, part.name):
                    yield node, times * part.repeats

    found = list(layers(graph.nodes, ""))
    assert sum(times for _, times in found) == len(graph.nodes)
    counted = sum(graph.sizes[name] * times for node, times in found for name in node.parameters)
    assert counted == sum(graph.sizes.values())


def test_equal_units_are_drawn_once():
    graph = trace_shapes(small(), (8, 8, 3))
    stage = [node for node in graph.nodes if node.name.startswith("stage1/")]
    (part,) = structure.parts_of(stage, "stage1")
    assert (part.name, part.repeats, part.last) == ("stage1/block1", 3, "stage1/block3")
    assert "block1 … block3 (3×)" in texts(structure.structure(small(), (8, 8, 3), depth=1))


def test_equal_modules_beside_one_another_are_each_drawn():
    fields = {"stage_features": (4,), "dropout_rates": (0.0,)}
    graph = trace_shapes(create_model("fractalnet20_cifar10", **fields), (8, 8, 3))
    stage = [node for node in graph.nodes if node.name.startswith("stage1/")]
    columns = [part for part in structure.parts_of(stage, "stage1") if not part.is_layer]
    assert [part.repeats for part in columns] == [1] * 7


def test_a_shortcut_is_an_edge_around_the_branch():
    svg = structure.structure(small(), (8, 8, 3), depth=2)
    edges = set(re.findall(r"<title>([^<]+)&#45;&gt;([^<]+)</title>", svg))
    assert ("stem/relu", "stage1/block1/conv1") in edges
    assert ("stem/relu", "stage1/block1/add") in edges
    assert ("stage1/block1/norm2", "stage1/block1/add") in edges


def test_a_closed_module_lists_its_layers_if_they_are_few():
    shown = texts(structure.structure(small(), (8, 8, 3), depth=0))
    first = shown.index("stem")
    conv = "conv 3x3, 4, padding 1"
    assert shown[first : first + 5] == ["stem", conv, "batch_norm", "relu", "116 parameters"]
    assert "21 layers" in shown


def test_a_module_alone_has_its_layers_and_no_other():
    svg = structure.structure(small(), (8, 8, 3), depth=0, module="stage2/block1")
    assert {"conv1", "conv2", "add", "input", "output"} <= set(texts(svg))
    assert "stem" not in svg
    assert "8×8×4" in texts(svg)
    with pytest.raises(UserError, match=r"no module 'stage9': did you mean stage"):
        structure.structure(small(), (8, 8, 3), module="stage9")


def test_edges_are_labelled_with_shapes():
    shown = texts(structure.structure(small(), (8, 8, 3), depth=0))
    assert "8×8×3" in shown
    assert "8×8×4" in shown
    assert "4×4×8" in shown
    assert shown[0] == "stem" or "stem" in shown


def test_a_page_opens_every_module():
    graph = trace_shapes(small(), (8, 8, 3))
    blocks = structure.blocks(graph)
    titles = [block.title for block in blocks if isinstance(block, page.Fold)]
    assert [title.partition(":")[0] for title in titles] == ["stem", "stage1", "stage2"]
    html = page.render(page.Page("structure", "", [page.Section("Structure", blocks)]))
    assert html.count("<details") == 3 + 2
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "<script" not in html
