import dataclasses

import numpy as np
import pytest

from jaxcnn.config.schema import changed
from jaxcnn.figures.page import Cards, Figures, Table, Text, render
from jaxcnn.reporting import comparison
from jaxcnn.reporting.report import page_of
from tests.figures import html
from tests.reporting.runs import NAMES, run
from tests.reporting.test_sections import LABELS, PREDICTED, of_kind, texts

OTHER = [0, 0, 0, 1, 1, 2, 2, 0]  # right on 2 that the first one misses, wrong on one that it knows


@pytest.fixture
def two():
    other = run(LABELS, OTHER, "second", seed=7)
    model = dataclasses.replace(other.config.model, overrides={"act": "<i>"})
    config = changed(dataclasses.replace(other.config, model=model), {})
    return [run(LABELS, PREDICTED), other._replace(config=config)]


@pytest.mark.slow
def test_fields_that_differ_are_listed_and_no_others(two):
    assert comparison.differing(two) == {
        "seed": ["0", "7"],
        "model.overrides.act": [comparison.UNSET, "<i>"],
    }
    assert comparison.differing([two[0], two[0]]) == {}


def test_results_stand_beside_one_another(two):
    found, fields = of_kind(comparison.results(two), Table)
    rows = {row[0]: row[1:] for row in texts(found)}
    assert rows["accuracy (top1)"] == ["75.00 %", "87.50 %"]
    assert rows["training speed, images/s"] == ["100", "100"]
    assert [row[0] for row in texts(fields)] == ["seed", "model.overrides.act"]


def test_the_test_of_mcnemar_and_its_counts(two):
    text, table = comparison.pairs(two)
    rows = {row[0]: row[1] for row in texts(table)}
    assert (rows["A"], rows["B"]) == ("first", "second")
    assert rows["difference, points"] == "+12.50"
    assert [rows[key] for key in ("both right", "only A right", "only B right", "both wrong")] == [
        *("5", "1", "2", "0")
    ]
    assert rows["p, McNemar"] == "1"
    assert "corrected" not in text.text


def test_the_order_of_the_runs_turns_the_difference(two):
    def rows(runs):
        return {row[0]: row[1] for row in texts(comparison.pairs(runs)[1])}

    there, back = rows(two), rows(two[::-1])
    assert back["difference, points"] == there["difference, points"].replace("+", "-")
    assert back["only A right"] == there["only B right"]
    assert back["p, McNemar"] == there["p, McNemar"]


@pytest.mark.slow
def test_identical_runs_do_not_differ():
    runs = [run(LABELS, PREDICTED), run(LABELS, PREDICTED, "second")]
    rows = {row[0]: row[1] for row in texts(comparison.pairs(runs)[1])}
    assert rows["difference, points"] == "+0.00"
    assert rows["p, McNemar"] == "1"
    assert {row[-1] for row in texts(of_kind(comparison.by_class(runs), Table)[0])} == {"+0.00"}
    assert "right on the same images" in comparison.dividing(runs)[0].text
    found = html.check(render(page_of(runs)))
    assert "The configs are the same." in found.text


def test_many_runs_are_each_compared_with_the_first():
    runs = [run(LABELS, PREDICTED, str(number)) for number in range(6)]
    text, table = comparison.pairs(runs)
    assert texts(table)[0] == ["A", *"00000"]
    assert texts(table)[1] == ["B", *"12345"]
    assert "not corrected for the 5 comparisons" in text.text


@pytest.mark.exhaustive
def test_other_images_are_not_compared(two):
    first = two[0]
    lacking = first._replace(answers=None, problem="gone", name="lacking")
    short = run(LABELS[:-1], PREDICTED[:-1], "short")
    for other, reason in ((lacking, "lacking was not evaluated"), (short, "not the same")):
        assert reason in comparison.comparable(first, other)
        (text,) = comparison.pairs([first, other])
        assert text.warning
        html.check(render(page_of([first, other])))


def test_classes_with_the_largest_difference_come_first(two):
    (table,) = of_kind(comparison.by_class(two), Table)
    rows = texts(table)
    assert rows[0] == [NAMES[3], "100.00 %", "0.00 %", "-100.00"]
    assert rows[1][0] == NAMES[2]
    assert rows[-1] == [NAMES[1], "100.00 %", "100.00 %", "+0.00"]


def test_images_that_divide_the_runs_have_all_answers(two):
    text, cards = comparison.dividing(two)
    assert isinstance(cards, Cards)
    assert "On 3 of 8 images" in text.text
    lines = cards.items[0].lines
    assert [line[1] for line in lines[1:3]] == ["first", "second"]
    assert {line[0] for line in lines[1:3]} == {"✓", "✗"}


@pytest.mark.slow
def test_curves_have_a_line_for_each_run(two):
    (figures,) = comparison.curves_together(two)
    assert isinstance(figures, Figures)
    assert len(figures.items) == 5
    assert all(">second</text>" in str(one.markup) for one in figures.items)
    empty = [one._replace(records=[]) for one in two]
    assert isinstance(comparison.curves_together(empty)[0], Text)
    assert np.isfinite(len(comparison.calibration_together(two)))
