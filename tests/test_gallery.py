"""docs/networks/: the pages are what `python docs/gallery.py` writes, and each statement is shown.

What is measured is in docs/gallery.json. It is measured again for two networks in each `pytest`,
for every page and all networks by the exhaustive tests.
"""

import ast
import copy
import functools
import json
import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from jaxcnn.models.published import networks

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "networks"
gallery = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
timeline = runpy.run_path(str(ROOT / "docs" / "timeline.py"))
WORDS, PAGES = gallery["words"](), gallery["pages"]()
MEASURED = json.loads(gallery["MEASURED"].read_text(encoding="utf-8"))
STATEMENTS = {key: own["statements"] for key, own in PAGES.items()} | {"": WORDS["general"]}
SMALL = ("lenet", "mobilenet")  # pages whose figures are measured in no time
RUN = "run: python docs/gallery.py"


def marked(keys, small, mark):
    return [key if key in small else pytest.param(key, marks=mark) for key in keys]


def texts_of(svg):
    root = ET.fromstring(svg)  # noqa: S314, our own
    return sorted("".join(one.itertext()) for one in root.iter() if one.tag.endswith("text"))


def test_pages_are_those_of_the_command():
    for name, text in gallery["texts"](MEASURED).items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: {RUN}"


def test_a_stale_figure_is_noticed():
    changed = copy.deepcopy(MEASURED)
    changed["receptive_fields"]["vgg16"][0] += 1
    now, then = (gallery["page"]("vgg", measured) for measured in (MEASURED, changed))
    assert now != then


def test_every_network_and_every_paper_has_a_page():
    named = [name for own in PAGES.values() for name in gallery["members"](own)]
    assert sorted(named) == sorted(networks())
    files = {gallery["recipe_file"](name) for name in networks()}
    assert files - {"ladder_conv"} == set(PAGES)  # one paper
    for own in PAGES.values():
        assert own["shown"] in gallery["members"](own)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert gallery["navigation"]() == navigation, RUN
    for file in FOLDER.glob("*.md"):
        assert f"networks/{file.name}\n" in navigation, file.name


def test_a_paper_without_words_has_a_page(monkeypatch):
    words = {key: value for key, value in WORDS.items() if key not in ("highway", "preact_resnet")}
    monkeypatch.setitem(gallery["pages"].__globals__, "words", lambda: words)
    pages = gallery["pages"]()
    assert list(pages) == list(PAGES)
    assert gallery["members"](pages["highway"]) == gallery["members"](PAGES["highway"])
    page = gallery["page"]("highway", MEASURED)
    assert "python -m jaxcnn.main --config=configs/highway_mnist_w16.py  " in page
    assert "go wrong" not in page


def test_diagrams_are_small_and_on_white_paper():
    wanted = {name + end for name in PAGES for end in ("", gallery["UNIT"])}
    files = {file.stem: file for file in FOLDER.glob("*.svg")}
    assert set(files) - {"timeline"} <= wanted
    assert set(PAGES) <= set(files)
    for name in set(files) - {"timeline"}:
        svg = files[name].read_text(encoding="utf-8")
        assert len(svg) < 60_000, name
        _, first = list(ET.fromstring(svg).iter())[:2]  # noqa: S314, our own
        assert first.tag.endswith("rect")
        assert first.attrib["fill"] == "white"


@pytest.mark.slow
@pytest.mark.parametrize("key", marked(PAGES, SMALL, pytest.mark.exhaustive))
def test_layers_are_those_of_the_traced_network(key):
    assert gallery["layers_of"](PAGES[key]["shown"]) == MEASURED["layers"][key], RUN


@pytest.mark.parametrize("key", marked(PAGES, SMALL, pytest.mark.exhaustive))
def test_diagrams_are_those_of_the_traced_network(key):
    """Fonts differ between machines, and boxes with them: the texts are compared."""
    pytest.importorskip("pygraphviz")
    for name, svg in gallery["diagrams"](key):
        committed = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
        assert texts_of(committed) == texts_of(svg), RUN


@pytest.mark.parametrize("name", marked(networks(), ("lenet5", "alexnet"), pytest.mark.exhaustive))
def test_receptive_fields_are_those_of_the_traced_network(name):
    assert gallery["field_of"](name) == MEASURED["receptive_fields"][name], RUN


@functools.cache
def names_of_tests(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def is_shown(shown):
    """Whether a test is there, a line of Python is true; `test_readme` checks commands."""
    if shown.startswith("python "):
        return True
    if "::" in shown:
        file, _, name = shown.partition("::")
        return name.startswith("test_") and name in names_of_tests(file)
    names = {}
    exec("\n".join(gallery["IMPORTS"]), names)  # noqa: S102, the lines of the page
    return eval(shown, names) is True  # noqa: S307, of docs/gallery.toml


@pytest.mark.parametrize("key", STATEMENTS)
def test_every_statement_is_shown(key):
    for row in STATEMENTS[key]:
        assert is_shown(row["shown"]), row["said"]
        assert set(row) == {"said", "fact", "shown"}


def test_a_line_that_shows_nothing_is_noticed():
    assert not is_shown('model_info("vgg16").top5_err == 7.3')
    assert not is_shown("tests/models/test_vgg.py::test_nothing")
    assert not is_shown("tests/models/test_vgg.py::small")


def test_a_page_names_what_its_lines_of_python_need():
    page = (FOLDER / "misconceptions.md").read_text(encoding="utf-8")
    (imports,) = re.findall(r"true after `(.*)`", page)
    lines = [row["shown"] for row in WORDS["general"] if "(" in row["shown"]]
    assert len(lines) > 1
    names = {}
    exec(imports, names)  # noqa: S102, the line of the page
    assert all(eval(line, names) for line in lines)  # noqa: S307, of docs/gallery.toml


def test_every_statement_is_listed_on_one_page():
    listed = (FOLDER / "misconceptions.md").read_text(encoding="utf-8")
    for rows in STATEMENTS.values():
        for row in rows:
            assert listed.count(row["said"]) == 1, row["said"]


def test_the_time_line_shows_the_published_errors():
    assert f"<!-- {timeline['digest']()} -->" in timeline["FIGURE"].read_text(encoding="utf-8"), (
        "run: python docs/timeline.py"
    )
    points = timeline["imagenet"]()
    single = {point.paper: point for point in points if point.name}
    assert single["googlenet"].value == 10.07
    assert single["resnet"].name == "resnet152_v1"  # and not torchvision's weights
    ensembles = [point for point in points if not point.name]
    assert len(ensembles) == len(WORDS["ensembles"]) > 5
    for point in ensembles:
        assert point.value < single[point.paper].value


def test_the_time_line_has_a_column_for_every_page():
    columns = [paper for paper, _ in timeline["columns"]()]
    assert columns == [own["papers"][0] for own in PAGES.values()]
    marks = (*timeline["imagenet"](), *timeline["small_images"](), *timeline["costs"]())
    assert {point.paper for point in marks} >= set(columns)
    assert columns[0] == "lenet"
    assert columns[-1] == "mobilenet"
