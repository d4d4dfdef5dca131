"""Reports, against counts made by hand."""

import csv
import json
import logging
import sys
import warnings

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.evaluation import report
from jaxcnn.evaluation.report import Predictions
from jaxcnn.figures import style
from jaxcnn.figures.charts.confusion import confusion_matrix

NAMES = ("ant", "b$e", "cow, brown")


def of(probabilities, labels):
    logs = np.log(np.array(probabilities, np.float32))
    return Predictions(np.arange(len(labels)), np.array(labels, np.int32), logs)


@pytest.fixture
def four():
    """Right at 0.75 and 0.5, wrong at 0.7 and 0.58; nobody is a cow."""
    return of(
        [[0.75, 0.1, 0.15], [0.2, 0.7, 0.1], [0.32, 0.1, 0.58], [0.3, 0.5, 0.2]], [0, 0, 1, 1]
    )


def rows(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_means_by_hand(four):
    means = report.means(four)
    # Of the bins, 1/15 wide, 0.75 and 0.7 lie in different ones, as all others do.
    assert means["ece"] == pytest.approx((0.25 + 0.7 + 0.58 + 0.5) / 4)
    assert means["top1"] == 0.5
    assert means["top5"] == 1
    assert means["nll"] == pytest.approx(-np.log([0.75, 0.2, 0.1, 0.5]).mean())


def test_calibration_sorts_by_confidence_and_certainty_belongs_to_the_last_bin():
    confidence = np.array([0.5, 0.59, 0.61, 0.79, 0.78, 1.0])
    hits = np.array([1, 0, 1, 1, 0, 1])
    predictions = of(np.stack([confidence, 1 - confidence + 1e-30], 1), 1 - hits)
    found = report.calibration(predictions, bins=5)
    assert found.examples.tolist() == [0, 0, 2, 3, 1]
    np.testing.assert_allclose(found.accuracy, [0, 0, 1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(found.confidence, [0, 0, 0.545, 2.18 / 3, 1], rtol=1e-6)
    assert found.error == pytest.approx((2 * 0.045 + 0.18 + 0) / 6, rel=1e-5)


def test_an_honest_forecaster_has_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 200_000)
    labels = (rng.random(len(confidence)) > confidence).astype(int)
    predictions = of(np.stack([confidence, 1 - confidence], 1), labels)
    assert report.means(predictions)["ece"] < 0.005
    boaster = of(np.stack([confidence**0.1, 1 - confidence**0.1], 1), labels)
    assert report.means(boaster)["ece"] > 0.15


def test_files_of_a_report(four, tmp_path):
    report.write(tmp_path, four, NAMES, {"split": "test"})
    assert rows(tmp_path / "confusion.csv") == [
        ["true \\ predicted", *NAMES],
        ["ant", "1", "1", "0"],
        ["b$e", "0", "1", "1"],
        ["cow, brown", "0", "0", "0"],
    ]
    assert rows(tmp_path / "per_class.csv")[1:] == [
        ["0", "ant", "2", "1", "0.500000"],
        ["1", "b$e", "2", "1", "0.500000"],
        ["2", "cow, brown", "0", "0", ""],
    ]
    assert rows(tmp_path / "predictions.csv")[:3] == [
        ["index", "label", "prediction", "confidence"],
        ["0", "0", "0", "0.750000"],
        ["1", "0", "1", "0.700000"],
    ]
    assert [row[2] for row in rows(tmp_path / "calibration.csv")[1:]] == list("000000011011000")
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["split"] == "test"
    assert facts["num_examples"] == 4
    assert facts["ece"] == pytest.approx(2.03 / 4)
    assert (tmp_path / "confusion.png").read_bytes()[1:4] == b"PNG"


def test_the_figure_has_no_names_of_many_classes(tmp_path):
    counts = np.eye(200, dtype=int)
    figure = confusion_matrix(counts, [str(i) for i in range(200)], ["runs/a"], "per_class.csv")
    style.save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_names_of_strangers_are_shown_in_a_figure_and_obeyed_nowhere(tmp_path, monkeypatch):
    """Of any length, with formulas, escape sequences and characters that no font has."""
    from matplotlib.figure import Figure

    shown = []
    save = Figure.savefig

    def keep(figure, *args, **fields):
        shown.extend(
            text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))
        )
        return save(figure, *args, **fields)

    monkeypatch.setattr(Figure, "savefig", keep)
    names = ["$x^{$", "\x1b[31mred\n", "一丁\U0001f600", "n" * 300, r"$\frac"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = confusion_matrix(np.eye(5, dtype=int), names, ["runs/$a$", "test top1"])
        style.save(figure, tmp_path / "x.png")
    assert {r"\$x^{\$", r"\x1b[31mred\n", r"\$\frac", "runs/\\$a\\$\ntest top1"} <= set(shown)
    assert max(map(len, shown)) < 50


def test_a_report_of_ours_is_told_from_other_folders(four, tmp_path):
    facts = {"members": [{"weights": "runs/a"}], "split": "test"}
    assert not report.belongs_to(tmp_path, ["runs/a"], "test")
    report.write(tmp_path, four, NAMES, facts)
    assert report.belongs_to(tmp_path, ["./runs/a"], "test")
    assert not report.belongs_to(tmp_path, ["runs/b"], "test")
    assert not report.belongs_to(tmp_path, ["runs/a"], "train")
    for text in ("5", "{", '{"members": 3}', '{"members": [{}], "split": "test"}'):
        (tmp_path / "report.json").write_text(text)
        assert not report.belongs_to(tmp_path, ["runs/a"], "test")


def test_without_matplotlib_one_line_says_what_is_missing(four, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.WARNING, logger="jaxcnn"):
        report.write(tmp_path, four, NAMES, {})
    (line,) = caplog.messages
    assert "pip install 'jaxcnn[plots]'" in line
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        *("report.json", "per_class.csv", "confusion.csv", "calibration.csv", "predictions.csv")
    }


def test_an_average_is_of_probabilities_and_of_the_same_examples(four):
    other = of([[0.2, 0.2, 0.6]] * 4, four.labels)
    mean = report.average([four, other, other])
    expected = (np.exp(four.log_probabilities) + 2 * np.exp(other.log_probabilities)) / 3
    np.testing.assert_allclose(np.exp(mean.log_probabilities), expected, rtol=1e-5)
    for changed in (
        other._replace(labels=four.labels[::-1]),
        other._replace(indices=four.indices + 1),
        other._replace(log_probabilities=other.log_probabilities[:, :2]),
    ):
        with pytest.raises(UserError, match="same examples"):
            report.average([four, changed])


def test_what_cannot_be_reported_says_so(four, tmp_path):
    four.log_probabilities[2, 1] = np.nan
    with pytest.raises(UserError, match=r"1 of 4 examples are not finite.*index 2"):
        report.write(tmp_path, four, NAMES, {})
    four.log_probabilities[2, 1] = -1
    with pytest.raises(UserError, match=r"cannot write the report"):
        report.write(tmp_path / "missing", four, NAMES, {})
