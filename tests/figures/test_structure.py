"""The structure diagram: every layer and every parameter once, equal units as one."""

import re
import xml.etree.ElementTree as ET

import pytest

from jaxcnn.analysis.graph import trace_shapes
from jaxcnn.figures import page, structure
from jaxcnn.models import create_model

pytest.importorskip("pygraphviz")


def small(**overrides):
    return create_model("cifar_resnet20", **{"stage_sizes": (3, 1), "width": 4, **overrides})


def texts(svg):
    root = ET.fromstring(svg)  # noqa: S314, our own
    return ["".join(one.itertext()).strip() for one in root.iter() if one.tag.endswith("text")]


def test_every_parameter_is_in_one_box():
    graph = trace_shapes(small(), (8, 8, 3))

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


def test_a_shortcut_is_an_edge_around_the_branch():
    svg = structure.structure(small(), (8, 8, 3), depth=2)
    edges = set(re.findall(r"<title>([^<]+)&#45;&gt;([^<]+)</title>", svg))
    assert ("stem/relu", "stage1/block1/conv1") in edges
    assert ("stem/relu", "stage1/block1/add") in edges
    assert ("stage1/block1/norm2", "stage1/block1/add") in edges


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
