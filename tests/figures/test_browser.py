"""Pages in a real browser: headless Chromium opens them from files."""

import pytest

from jaxcnn.figures.page import render
from jaxcnn.reporting.report import page_of
from tests.figures import browser
from tests.reporting.runs import NAMES, run
from tests.reporting.test_comparison import OTHER
from tests.reporting.test_sections import LABELS, PREDICTED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.CHROMIUM, reason=browser.REASON),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The report of a run, and of two runs, whose classes have names of HTML and of 200 letters."""
    folder = tmp_path_factory.mktemp("pages")
    first, second = run(LABELS, PREDICTED), run(LABELS, OTHER, "second" * 20, seed=7)
    found = {"one": [first], "two": [first, second]}
    for name, examined in found.items():
        (folder / f"{name}.html").write_text(render(page_of(examined)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in found}


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_opens_from_its_file_and_asks_for_nothing(pages, tmp_path, name, width):
    seen = browser.look(pages[name], tmp_path, width)
    assert not seen.console
    assert not seen.requests
    assert not seen.facts["resources"]
    assert seen.facts["scripts"] == 0
    for known in NAMES:
        assert known in seen.facts["text"]


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_fits_its_width_and_has_no_small_text(pages, tmp_path, name, width):
    facts = browser.look(pages[name], tmp_path, width).facts
    assert facts["width"] == facts["content"] == width
    assert not facts["out"]
    assert not facts["small"]


def test_what_is_folded_opens_and_closes(pages, tmp_path):
    folds = browser.look(pages["two"], tmp_path).facts["folds"]
    assert len(folds) > 10
    assert all(closed < 60 < opened for closed, opened in folds)


def brightness(color):
    numbers = [int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(numbers) / 3


def test_a_page_is_light_or_dark_as_the_reader_wants(pages, tmp_path):
    light, dark = (
        browser.look(pages["one"], tmp_path, dark=wanted).facts for wanted in (False, True)
    )
    assert brightness(light["background"]) > 240 > 60 > brightness(light["color"])
    assert brightness(dark["background"]) < 40 < 200 < brightness(dark["color"])


def test_what_a_page_must_not_do_would_be_noticed(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><html><body><img src="http://example.invalid/x.png">'
        '<p style="font-size:5px">small</p><p style="width:3000px;text-align:right">wide</p>'
        "<script>console.error('bad')</script></body></html>"
    )
    seen = browser.look(page, tmp_path, 400)
    assert "bad" in seen.console[0]
    assert any("example.invalid" in one for one in seen.requests)
    assert seen.facts["resources"] == ["http://example.invalid/x.png"]
    assert [text for _, text in seen.facts["small"]] == ["small"]
    assert seen.facts["content"] > 2000
    assert seen.facts["out"]
