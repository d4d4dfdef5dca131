"""The sections of a page about several runs beside one another."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxcnn.analysis import count_macs
from jaxcnn.config.schema import OVERRIDES, values_of
from jaxcnn.evaluation import report as reports
from jaxcnn.evaluation.statistics import Paired, paired
from jaxcnn.figures import page
from jaxcnn.figures.charts.curves import Line, curves
from jaxcnn.figures.charts.reliability import Bins, reliability
from jaxcnn.figures.page import (
    Block,
    Card,
    Cards,
    Cell,
    Columns,
    Drawing,
    Figures,
    Picture,
    Table,
    Text,
)
from jaxcnn.figures.tiles import as_rgb
from jaxcnn.reporting.mistakes import pixels_of
from jaxcnn.reporting.numbers import (
    count,
    percent,
    points,
    probability,
    share_cell,
    size,
    value,
)
from jaxcnn.reporting.runs import Answers, Examined
from jaxcnn.reporting.sections import MOST_CLASSES, series, split_of_curves
from jaxcnn.training.state import count_parameters

MOST_FOR_PAIRS = 4  # runs of which all pairs are compared; of more, each with the first one
SHOWN = 8  # images that divide the runs
UNSET = "not set"


def results(runs: Sequence[Examined]) -> list[Block]:
    """Returns the results of each run, and below them the fields of the configs that differ."""
    head = ("", *(run.name for run in runs))
    rows = [(title, *(of(run) for run in runs)) for title, of in _MEASURES]
    kept = [row for row in rows if any(cell not in ("", Cell("")) for cell in row[1:])]
    fields = [(name, *values) for name, values in differing(runs).items()]
    caption = "fields of the configs that differ"
    found = Table(head, kept, caption="results, with intervals that cover 95 %")
    if not fields:
        return [found, Text("The configs are the same.")]
    other = Table(("field", *head[1:]), fields, "l" * len(head), caption)
    return [Columns([[found], [other]])] if len(runs) == 2 else [found, other]


def differing(runs: Sequence[Examined]) -> dict[str, list[str]]:
    """Returns the values of each run by the full names of the fields that are not all the same."""
    whole = []
    for run in runs:
        own = {OVERRIDES + name: one for name, one in run.config.model.overrides.items()}
        fields = {
            name: one for name, one in values_of(run.config).items() if f"{name}." != OVERRIDES
        }
        whole.append({name: value(one) for name, one in (fields | own).items()})
    names = dict.fromkeys(itertools.chain.from_iterable(whole))
    found = {name: [values.get(name, UNSET) for values in whole] for name in names}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _accuracy(run: Examined) -> Cell | str:
    if run.answers is None:
        return ""
    return share_cell(int(run.answers.correct.sum()), len(run.answers.correct))


def _of_predictions(key: str, shown: Callable[[float], str]) -> Callable[[Examined], str]:
    def of(run: Examined) -> str:
        return "" if run.answers is None else shown(reports.means(run.answers.predictions)[key])

    return of


def _of_records(
    key: str, reduce: Callable[[np.ndarray], Any], shown: Callable[[float], str]
) -> Any:
    def of(run: Examined) -> str:
        _, values = series(run.records, key)
        values = values[values > 0]
        return shown(float(reduce(values))) if len(values) else ""

    return of


_MEASURES: tuple[tuple[str, Callable[[Examined], Cell | str]], ...] = (
    ("accuracy (top1)", _accuracy),
    ("top5", _of_predictions("top5", percent)),
    ("cross entropy, nats", _of_predictions("nll", "{:.4f}".format)),
    ("calibration error", _of_predictions("ece", percent)),
    ("split", lambda run: run.split),
    ("images", lambda run: "" if run.answers is None else f"{len(run.answers.correct):,}"),
    ("steps", lambda run: f"{run.restored.step:,}"),
    ("parameters", lambda run: f"{count_parameters(run.variables['params']):,}"),
    ("multiply-adds", lambda run: count(count_macs(run.model, run.image_shape))),
    ("training speed, images/s", _of_records("images_per_second", np.median, "{:,.0f}".format)),
    ("peak memory", _of_records("peak_memory", np.max, size)),
    ("SHA-256 of the weights", lambda run: Cell(f"{run.sha256[:12]}…", title=run.sha256)),
    ("revision of jaxcnn", lambda run: run.meta.get("git", "")[:12]),
)


def curves_together(runs: Sequence[Examined]) -> list[Block]:
    """Returns the curves of all runs over one another, each in the colour of its run."""
    figures = []
    for part, metric, title in (
        ("", "loss", "loss in evaluation"),
        ("", "top1", "accuracy in evaluation"),
        ("train", "loss", "training loss"),
        ("train", "top1", "training accuracy"),
        ("train", "learning_rate", "learning rate"),
    ):
        lines = []
        for number, run in enumerate(runs):
            split = part or split_of_curves(run.records)
            averaged = "_ema" * (not part and run.restored.state.ema is not None)
            found = series(run.records, f"{split}/{metric}{averaged}")
            if len(found[0]):
                lines.append(Line(run.name, *found, number))
        if lines:
            figure = curves(
                lines,
                title,
                title.partition(" in ")[0],
                percent=metric == "top1",
                log=metric == "loss",
            )
            figures.append(Drawing(page.inline(figure, f"{title} of all runs")))
    return [Figures(figures)] if figures else [Text("The runs have no records.", warning=True)]


def comparable(first: Examined, second: Examined) -> str:
    """Returns why two runs cannot be compared image by image; "" if they can."""
    for run in (first, second):
        if run.answers is None:
            return f"{run.name} was not evaluated"
    one, other = first.answers, second.answers
    assert one is not None and other is not None  # noqa: S101, PT018
    same = (
        one.split == other.split
        and np.array_equal(one.predictions.indices, other.predictions.indices)
        and np.array_equal(one.predictions.labels, other.predictions.labels)
        and first.class_names == second.class_names
    )
    return "" if same else "their images or classes are not the same"


def pairs(runs: Sequence[Examined]) -> list[Block]:
    """Returns McNemar's test and the interval of the difference for pairs of runs."""
    all_pairs = list(itertools.combinations(runs, 2))
    chosen = all_pairs if len(runs) <= MOST_FOR_PAIRS else all_pairs[: len(runs) - 1]
    columns, blocks = [], list[Block]()
    for first, second in chosen:
        if problem := comparable(first, second):
            blocks.append(Text(f"{first.name} and {second.name}: {problem}.", warning=True))
            continue
        assert first.answers is not None and second.answers is not None  # noqa: S101, PT018
        found = paired(first.answers.correct, second.answers.correct)
        columns.append((first.name, second.name, *_compared(found)))
    if not columns:
        return blocks
    text = (
        "All runs see the same images, so those images decide on which one of two runs is right and"
        " the other wrong. The p-value is that of McNemar's test in its exact binomial form; the"
        " interval is that of Agresti and Min for paired shares. Neither tells how much another"
        " seed would change."
    )
    if len(columns) > 1:
        text += f" The p-values are not corrected for the {len(columns)} comparisons."
    head = (
        "",
        *(f"B minus A{f', {number}' * (len(columns) > 1)}" for number, _ in enumerate(columns, 1)),
    )
    return [Text(text), Table(head, list(zip(_COMPARED, *columns, strict=True))), *blocks]


_COMPARED = (
    "A",
    "B",
    "difference, points",
    "95 % interval",
    "p, McNemar",
    "both right",
    "only A right",
    "only B right",
    "both wrong",
)


def _compared(found: Paired) -> tuple[str, ...]:
    low, high = found.interval()
    interval = f"{points(low)} to {points(high)}"
    counts = map("{:,}".format, found)
    return points(found.difference), interval, probability(found.p_value), *counts


def by_class(runs: Sequence[Examined]) -> list[Block]:
    """Returns the accuracy of each class in each run, the largest differences first."""
    answered = [(run, run.answers) for run in runs if run.answers is not None]
    if len(answered) < 2 or any(
        run.class_names != answered[0][0].class_names for run, _ in answered
    ):
        return [Text("The runs have no classes in common that could be compared.")]
    counts = np.stack([reports.confusion(answers.predictions) for _, answers in answered])
    totals, hits = counts.sum(axis=2), np.diagonal(counts, axis1=1, axis2=2)
    shares = hits / np.maximum(totals, 1)
    spread = shares.max(axis=0) - shares.min(axis=0)
    two = len(answered) == 2
    names = answered[0][0].class_names
    rows: list[tuple[Cell | str, ...]] = [
        (
            names[label],
            *(
                share_cell(int(hit), int(total))
                for hit, total in zip(hits[:, label], totals[:, label], strict=True)
            ),
            points(shares[1, label] - shares[0, label]) if two else points(spread[label])[1:],
        )
        for label in np.argsort(-spread, kind="stable")
    ]
    last = "difference, points" if two else "largest difference, points"
    head = ("class", *(run.name for run, _ in answered), last)
    blocks: list[Block] = [Table(head, rows[:MOST_CLASSES])]
    if rows[MOST_CLASSES:]:
        more = Table(head, rows[MOST_CLASSES:])
        blocks.append(page.Fold(f"{len(rows) - MOST_CLASSES} more classes", [more]))
    return blocks


def calibration_together(runs: Sequence[Examined]) -> list[Block]:
    """Returns the reliability diagrams of all runs over one another."""
    bins = [
        Bins(run.name, *reports.calibration(run.answers.predictions))
        for run in runs
        if run.answers is not None
    ]
    if not bins:
        return [Text("No run was evaluated.")]
    return [Figures([Drawing(page.inline(reliability(bins), "reliability diagram of all runs"))])]


def dividing(runs: Sequence[Examined]) -> list[Block]:
    """Returns the images that some runs classify correctly and others do not, with all answers.

    Of all runs that can be compared with the first one. Images come first whose true class has the
    most different probabilities.
    """
    kept = [run for run in runs if run is runs[0] or not comparable(runs[0], run)]
    answers = [run.answers for run in kept if run.answers is not None]
    if len(answers) < 2:
        return [Text("The runs have no images in common.")]
    labels = answers[0].predictions.labels
    own = np.stack([np.exp(-reports.nll(one.predictions)) for one in answers])
    correct = np.stack([one.correct for one in answers])
    divided = correct.any(axis=0) & ~correct.all(axis=0)
    spread = np.where(divided, own.max(axis=0) - own.min(axis=0), -1)
    order = np.argsort(-spread, kind="stable")[: min(SHOWN, int(divided.sum()))]
    if not len(order):
        return [Text("All runs are right on the same images.")]
    cards = [
        Card([Picture(as_rgb(image), "")], _lines(kept, answers, int(labels[place]), int(place)))
        for place, image in zip(order, pixels_of(kept[0], answers[0], order), strict=True)
    ]
    text = (
        f"On {int(divided.sum()):,} of {len(labels):,} images some runs are right and others wrong."
    )
    return [Text(text), Cards(cards)]


def _lines(
    runs: Sequence[Examined], answers: Sequence[Answers], label: int, place: int
) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("true class", runs[0].class_names[label])]
    for run, one in zip(runs, answers, strict=True):
        guess = int(one.predicted[place])
        confidence = float(np.exp(one.predictions.log_probabilities[place, guess]))
        mark = "✓" if guess == label else "✗"
        lines.append((mark, run.name, "→", run.class_names[guess], f"({percent(confidence)})"))
    return [*lines, (answers[0].dataset.describe(int(answers[0].predictions.indices[place])),)]
