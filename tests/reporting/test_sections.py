import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.attribution.class_activation_maps import grad_cam
from jaxcnn.evaluation import report as reports
from jaxcnn.figures.page import Page, Section, Table, Text, Tiles, render
from jaxcnn.reporting import mistakes, network, numbers, sections
from jaxcnn.reporting.report import page_of, sections_of
from tests.figures import html
from tests.reporting.runs import NAMES, SIDE, Dense, run

LABELS = [0, 0, 0, 1, 1, 2, 2, 3]
PREDICTED = [0, 0, 1, 1, 1, 2, 0, 3]


@pytest.fixture
def examined():
    return run(LABELS, PREDICTED, confidence=[0.7, 0.6, 0.9, 0.7, 0.7, 0.7, 0.8, 0.4])


def of_kind(blocks, kind):
    found = [block for block in blocks if isinstance(block, kind)]
    for block in blocks:
        inner = getattr(block, "blocks", [])
        columns = getattr(block, "items", []) if block.kind == "columns" else []
        for part in (inner, *columns):
            found += of_kind(part, kind)
    return found


def plain(text):
    """A text whose spaces are all of one kind."""
    return text.replace("\u00a0", " ")


def texts(table):
    return [[plain(getattr(cell, "text", cell)) for cell in row] for row in table.rows]


def test_the_result_has_wilsons_interval(examined):
    blocks = sections.result(examined, ["a warning", ""])
    assert blocks[0] == Text("A warning", warning=True)
    (tiles,) = of_kind(blocks, Tiles)
    found = {title: (plain(value), plain(note)) for title, value, note in tiles.items}
    assert found["test accuracy (top1)"] == ("75.00 %", "40.93 to 92.85 %")
    assert found["test error"] == ("25.00 %", "2 of 8 images")
    means = reports.means(examined.answers.predictions)
    assert found["cross entropy"][0] == f"{means['nll']:.4f}"
    assert found["calibration error"][0] == f"{100 * means['ece']:.2f} %"


def test_a_record_with_another_accuracy_is_said(examined):
    assert len(of_kind(sections.result(examined, []), Text)) == 1
    changed = [record | {"test/top1": 0.875} for record in examined.records]
    found = of_kind(sections.result(examined._replace(records=changed), []), Text)
    assert "87.50 %" in plain(found[-1].text)
    assert found[-1].warning


@pytest.mark.slow
def test_without_data_the_last_record_is_shown(examined):
    lacking = examined._replace(answers=None, problem="no <data>")
    assert lacking.split == "test"
    page = html.check(render(page_of([lacking])))
    assert "The network was not evaluated: no <data>" in page.text
    assert "test/top1" in page.text
    titles = [section.title for section in sections_of(lacking, "latest")]
    assert "Curves" in titles
    assert "Worst mistakes" not in titles


@pytest.mark.slow
def test_a_run_that_is_not_finished_says_so(examined):
    running = examined._replace(records=examined.records[:-1])
    assert running.result is None
    assert "not finished" in html.check(render(page_of([running]))).text


def test_what_was_run_has_the_record_of_the_checkpoint(examined):
    page = Page("", "", [Section("", sections.provenance(examined))])
    found = html.check(render(page)).text
    for known in ("--config=<b>", "c0ffee", "jax 1", "2.0 GiB", "ab" * 32, "1 x cpu"):
        assert known in found
    changed, rest = of_kind(sections.provenance(examined), Table)
    fields = {row[0]: row[1] for row in texts(changed)}
    assert fields["model.name"] == "small"
    assert fields["data.image_size"] == "8"
    assert "seed" not in fields
    assert "seed" in {row[0] for row in texts(rest)}


@pytest.mark.slow
def test_what_older_versions_did_not_record_is_said(examined):
    old = examined._replace(meta={"devices": 1})
    assert sections.NOT_RECORDED in html.check(render(page_of([old]))).text


def test_series_take_the_first_of_two_records_of_a_step(examined):
    epochs, values = sections.series([{"epoch": 1, "x": 3}, {"epoch": 1, "x": 4}, {"step": 2}], "x")
    assert (epochs.tolist(), values.tolist()) == ([1], [3])
    assert len(sections.series(examined.records, "nothing")[0]) == 0
    assert len(sections.series(examined.records, "test/loss")[0]) == 4


def test_classes_are_counted_and_the_weakest_comes_first(examined):
    confusion, pairs, by_class = of_kind(sections.classes(examined, examined.answers), Table)
    assert texts(confusion)[0] == [NAMES[0], "2", "1", "", ""]
    assert confusion.rows[0][1].heat == pytest.approx(2 / 3)
    assert texts(pairs) == [
        [NAMES[0], NAMES[1], "1", "33.33 %"],
        [NAMES[2], NAMES[0], "1", "50.00 %"],
    ]
    assert texts(by_class)[0] == [NAMES[2], "2", "50.00 %", "1"]
    assert by_class.rows[0][2].interval == pytest.approx((0.0945, 0.5, 0.9055), abs=1e-4)


def test_many_classes_become_a_picture():
    (block,) = sections._confusion(np.eye(100, dtype=int), [str(i) for i in range(100)])
    assert str(block.items[0].markup).startswith('<img src="data:image/png')


def test_the_worst_answers_come_first(examined):
    assert mistakes.worst(examined.answers, 5).tolist() == [2, 6, 7, 1, 0]


def test_mistakes_have_their_pictures_and_probabilities(examined):
    text, how, cards = mistakes.mistakes(examined, examined.answers)
    assert "Grad-CAM at relu" in how.text
    assert "2 of 8 answers are wrong; the others shown" in text.text
    first = cards.items[0]
    np.testing.assert_array_equal(first.pictures[0].pixels, examined.answers.dataset.images[2])
    assert [plain(" ".join(line)) for line in first.lines] == [
        f"predicted: {NAMES[1]} (90.00 %)",
        f"true: {NAMES[0]} (3.33 %)",
        "test example 2 of small",
    ]


def test_mistakes_are_explained_for_both_classes(examined):
    *_, cards = mistakes.mistakes(examined, examined.answers)
    captions = [[picture.caption for picture in card.pictures] for card in cards.items]
    assert captions[0] == ["image", f"for {NAMES[1]}", f"for {NAMES[0]}"]
    assert captions[-1][0] == "image"
    assert len(captions[-1]) == 2  # a correct answer
    guess, label = (picture.pixels for picture in cards.items[0].pictures[1:])
    assert guess.shape == label.shape == (SIDE, SIDE, 3)
    assert np.any(guess != label)


@pytest.mark.slow
def test_maps_are_those_of_grad_cam_and_of_saliency_where_there_are_none(examined):
    pixels = [examined.answers.dataset.images[0]]
    classes = np.array([2])
    images = jnp.asarray(pixels[0][None] / np.float32(255) - 0.5) / 0.5
    how, maps = mistakes.explain(examined, pixels, classes)
    found = grad_cam(examined.model, examined.variables, images, jnp.asarray(classes))
    np.testing.assert_allclose(maps, found.maps, atol=1e-5)
    assert found.layer in how
    dense = Dense()
    variables = dense.init(jax.random.key(0), images)
    state = examined.restored.state.replace(params=variables["params"])
    restored = examined.restored._replace(model=dense, state=state)
    how, maps = mistakes.explain(examined._replace(restored=restored), pixels, classes)
    assert how.startswith("Saliency")
    kernel = variables["params"]["classifier"]["kernel"].reshape(SIDE, SIDE, 3, -1)[..., 2]
    np.testing.assert_allclose(maps[0], np.abs(kernel).max(-1), rtol=1e-5)


def test_overconfidence_is_said(examined):
    (text,) = of_kind(sections.calibrated(examined.answers), Text)
    assert "underconfident" in text.text
    boasting = run(LABELS, PREDICTED, confidence=0.99)
    (text,) = of_kind(sections.calibrated(boasting.answers), Text)
    assert "overconfident" in text.text


def test_speed_leaves_out_records_without_a_timed_step(examined):
    tiles, waiting = sections.speed(examined, macs=1_500_000)
    found = {title: value for title, value, _ in tiles.items}
    assert found["training speed"] == "100 images/s"
    assert found["multiply-adds"] == "1.5 M"
    assert found["peak memory"] == "3.0 MiB"
    assert found["parameters"] == f"{3 * 3 * 3 * 6 + 6 + 6 * 4 + 4}"
    assert "25.0%" in waiting.text


@pytest.mark.parametrize(
    ("number", "text"), [(512, "512 B"), (2048, "2.0 KiB"), (3 * 2**30, "3.0 GiB"), (0, "0 B")]
)
def test_sizes(number, text):
    assert numbers.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(61706, "61,706"), (25_557_032, "25.56 M"), (4.1e9, "4.1 G")]
)
def test_counts(number, text):
    assert numbers.count(number) == text


def test_the_first_filters_are_pictures(examined):
    graph = trace_shapes(examined.model, examined.image_shape)
    (cards,) = network.filters(examined, graph)
    (card,) = cards.items
    assert " ".join(card.lines[0]) == "Filters of conv1: 6 of 3x3x3; zero is middle grey"
    weights = examined.variables["params"]["conv1"]["kernel"]
    assert card.pictures[0].pixels.shape[-1] == weights.shape[2]
    tiny = examined.variables["params"] | {"conv1": {"kernel": weights[:1, :1], "bias": 0}}
    state = examined.restored.state.replace(params=tiny)
    other = examined._replace(restored=examined.restored._replace(state=state))
    assert network.filters(other, graph) == []


def test_layers_and_structure_are_there_and_a_missing_package_is_named(examined, monkeypatch):
    graph = trace_shapes(examined.model, examined.image_shape)
    _, layers, diagram = network.network(examined, graph)
    assert layers.title.startswith("4 layers: 196 parameters")
    html.check(render(Page("", "", [Section("", [layers, diagram])])))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    (text,) = network.network(examined, graph)[-1].blocks
    assert "needs pygraphviz" in text.text


@pytest.mark.slow
def test_names_of_classes_stay_texts_on_the_whole_page(examined):
    found = html.check(render(page_of([examined])))
    for name in NAMES:
        assert name in found.text
    assert "b" not in {tag for tag, *_ in found.attributes}
