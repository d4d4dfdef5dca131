"""The sections of a page about one run."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxcnn.config import show
from jaxcnn.evaluation import report as reports
from jaxcnn.evaluation.statistics import normal_quantile, wilson
from jaxcnn.figures import page
from jaxcnn.figures.charts.confusion import NAMES_SHOWN, confusion_matrix, row_shares
from jaxcnn.figures.charts.curves import Line, curves
from jaxcnn.figures.charts.reliability import Bins, reliability
from jaxcnn.figures.page import (
    Block,
    Cell,
    Columns,
    Drawing,
    Facts,
    Figures,
    Fold,
    Table,
    Text,
    Tiles,
)
from jaxcnn.reporting.numbers import count, percent, share_cell, size, span, value
from jaxcnn.reporting.runs import Answers, Examined
from jaxcnn.run.metric_writer import Record, duration
from jaxcnn.training.state import count_parameters

MOST_PAIRS = 12  # of confused classes
MOST_CLASSES = 40  # rows of the table by class that are seen without opening it
ORIGINS = {show.RECIPE: "recipe or flag"}
NOT_RECORDED = "not recorded by the version that made the run"


def result(run: Examined, notes: Sequence[str]) -> list[Block]:
    """Returns the final figures with their intervals, and what limits them.

    Args:
      run: any.
      notes: warnings.
    """
    blocks: list[Block] = [Text(note[0].upper() + note[1:], warning=True) for note in notes if note]
    if run.answers is None:
        blocks.append(Text(f"The network was not evaluated: {run.problem}", warning=True))
        recorded = run.result or {}
        known = [(key, f"{number:.6g}") for key, number in recorded.items() if "/" in key]
        return [*blocks, Facts(known)] if known else blocks
    answers, split = run.answers, run.split
    total, hits = len(answers.correct), int(answers.correct.sum())
    found = reports.means(answers.predictions)
    five = int(reports.hits(answers.predictions, 5).sum())
    low, high = mean_interval(reports.nll(answers.predictions))
    tiles = [
        (f"{split} accuracy (top1)", percent(hits / total), span(*wilson(hits, total))),
        (f"{split} error", percent(1 - hits / total), f"{total - hits:,} of {total:,} images"),
        ("cross entropy", f"{found['nll']:.4f}", f"{low:.4f} to {high:.4f} nats"),
        ("calibration error", percent(found["ece"]), "expected, 15 bins"),
    ]
    if len(run.class_names) > 5:
        tiles.insert(2, ("top5", percent(five / total), span(*wilson(five, total))))
    text = (
        f"Of the {'averaged ' * (run.restored.state.ema is not None)}weights after step"
        f" {run.restored.step:,}, on the {total:,} images of the {split} split. Intervals cover"
        " 95 %: Wilson's for shares, the normal one for the cross entropy. They tell what other"
        " test images would change, not what another seed would."
    )
    return [*blocks, Tiles(tiles), Text(text), *_disagreement(run, hits / total)]


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the ends of the normal interval of a mean of values that are never negative."""
    half = normal_quantile() * float(values.std(ddof=min(1, len(values) - 1))) / len(values) ** 0.5
    return max(float(values.mean()) - half, 0.0), float(values.mean()) + half


def _disagreement(run: Examined, top1: float) -> list[Block]:
    """Returns a warning if the last record of the run has another accuracy."""
    averaged = "_ema" if run.restored.state.ema is not None else ""
    recorded = (run.result or {}).get(f"{run.split}/top1{averaged}")
    if recorded is None or abs(recorded - top1) < 1e-6:
        return []
    return [
        Text(
            f"The last record of the run says {percent(recorded)}. Other data, another machine or"
            " another version of the libraries can be the reason.",
            warning=True,
        )
    ]


def provenance(run: Examined) -> list[Block]:
    """Returns what was run, and by which program on which machine."""
    meta, config = run.meta, run.config
    hardware = meta.get("hardware", {})
    devices = f"{meta.get('devices', '?')} x {hardware.get('device', 'device of unknown kind')}"
    processes = meta.get("processes", 1)
    machine = NOT_RECORDED
    if hardware:
        machine = f"{hardware['processor']}, {hardware['cores']} cores, {size(hardware['memory'])}"
    versions = ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items())
    state = "finished" if run.result else "not finished, or of an earlier checkpoint"
    rows = [
        ("network", config.model.name),
        ("data", _data_of(run)),
        ("length", f"{config.train.length}, {run.restored.step:,} steps taken, {state}"),
        ("command", meta.get("command", NOT_RECORDED)),
        ("workdir", str(run.directory.resolve())),
        ("devices", devices + (f" in {processes} processes" if processes > 1 else "")),
        ("machine", machine),
        ("versions", versions or NOT_RECORDED),
        ("revision of jaxcnn", meta.get("git") or "none: it was not run from a checkout"),
        ("SHA-256 of the weights", run.sha256),
    ]
    fields = [(one, value(one.value)) for one in show.fields(config, ())]
    changed = [
        (one.name, shown, ORIGINS.get(one.origin, one.origin), one.doc)
        for one, shown in fields
        if one.origin != show.DEFAULT
    ]
    rest = [(one.name, shown, one.doc) for one, shown in fields if one.origin == show.DEFAULT]
    caption = f"{len(changed)} fields that differ from the defaults"
    return [
        Facts(rows),
        Table(("field", "value", "set by", "meaning"), changed, "llll", caption),
        Fold(
            f"{len(rest)} fields with their defaults",
            [Table(("field", "value", "meaning"), rest, "lll")],
        ),
    ]


def _data_of(run: Examined) -> str:
    shape = "x".join(map(str, run.image_shape))
    name = run.config.dataset or run.config.data.kind
    text = f"{name}, {len(run.class_names)} classes, images of {shape}"
    if run.answers is not None:
        text += f", {run.answers.dataset.num_examples:,} of them in the {run.split} split"
    return text


def series(records: Sequence[Record], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs and values of a key, float [n], of the records that have it.

    Of two records of one step the first counts: the second is of the final protocol.
    """
    found: dict[float, float] = {}
    for record in records:
        if isinstance(record.get(key), int | float) and "epoch" in record:
            found.setdefault(float(record["epoch"]), float(record[key]))
    return np.array(list(found)), np.array(list(found.values()))


def split_of_curves(records: Sequence[Record]) -> str:
    """Returns the split that was evaluated during training: "validation" if there was one."""
    keys = {key for record in records for key in record}
    return "validation" if "validation/top1" in keys else "test"


def training_curves(run: Examined) -> list[Block]:
    """Returns the curves of loss, accuracy and learning rate."""
    split = split_of_curves(run.records)
    figures = []
    for metric, title, percents in (("loss", "loss", False), ("top1", "top-1 accuracy", True)):
        keys = [f"train/{metric}", f"{split}/{metric}", f"{split}/{metric}_ema"]
        lines = [
            Line(_words(key), *points, number, faint=key.startswith("train"))
            for number, key in enumerate(keys)
            if len((points := series(run.records, key))[0])
        ]
        if lines:
            figure = curves(lines, title, title, percent=percents, log=not percents)
            figures.append(Drawing(page.inline(figure, f"{title} over the epochs")))
    for key, title in (
        ("train/learning_rate", "learning rate"),
        ("train/grad_norm", "gradient norm"),
    ):
        epochs, values = series(run.records, key)
        if len(epochs):
            figure = curves([Line("", epochs, values)], title, title, log="norm" in title)
            figures.append(Drawing(page.inline(figure, f"{title} over the epochs")))
    if not figures:
        return [Text("metrics.jsonl has no records.", warning=True)]
    return [Figures(figures)]


def _words(key: str) -> str:
    """Returns "train", "test" or "test, averaged weights"."""
    split, _, metric = key.partition("/")
    return split + ", averaged weights" * metric.endswith("_ema")


def classes(run: Examined, answers: Answers) -> list[Block]:
    """Returns the accuracy of each class, and which classes are confused."""
    counts = reports.confusion(answers.predictions)
    totals, hits = counts.sum(axis=1), counts.diagonal()
    named = counts.sum(axis=0)
    rows = [
        (name, f"{total:,}", share_cell(int(hit), int(total)), f"{predicted:,}")
        for name, total, hit, predicted in zip(run.class_names, totals, hits, named, strict=True)
    ]
    order = np.argsort(hits / np.maximum(totals, 1), kind="stable")
    rows = [rows[number] for number in order]
    head = ("class", "images", "accuracy, 95 % interval", "predicted")
    table = Table(head, rows[:MOST_CLASSES], caption="accuracy by class, the lowest first")
    beside: list[Block] = [_pairs(counts, run.class_names), table]
    if rows[MOST_CLASSES:]:
        rest = Table(head, rows[MOST_CLASSES:])
        beside.append(Fold(f"{len(rows) - MOST_CLASSES} more classes", [rest]))
    return [Columns([_confusion(counts, run.class_names), beside])]


def _confusion(counts: np.ndarray, names: Sequence[str]) -> list[Block]:
    shares = row_shares(counts)
    if len(counts) > NAMES_SHOWN:
        figure = confusion_matrix(counts, names, [], "the order of the classes")
        return [Figures([Drawing(page.drawn(figure, "confusion matrix"))], wide=True)]
    rows: list[list[Cell | str]] = [
        [
            Cell(name, title=name),
            *(
                Cell(
                    str(number) if number else "",
                    heat=float(shares[row, column]),
                    title=f"{name}, predicted as {names[column]}: {number}",
                )
                for column, number in enumerate(counts[row].tolist())
            ),
        ]
        for row, name in enumerate(names)
    ]
    caption = (
        "confusion: true class by row, predicted class by column, coloured by share of the row"
    )
    return [Table(("true \\ predicted", *names), rows, caption=caption, square=True)]


def _pairs(counts: np.ndarray, names: Sequence[str]) -> Block:
    wrong = counts - np.diag(counts.diagonal())
    flat = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    found = [divmod(int(place), len(counts)) for place in flat if wrong.flat[place] > 0]
    if not found:
        return Text("No two classes are confused.")
    rows = [
        (
            names[true],
            names[predicted],
            str(counts[true, predicted]),
            percent(row_shares(counts)[true, predicted]),
        )
        for true, predicted in found
    ]
    head = ("true class", "predicted class", "images", "of the true class")
    return Table(head, rows, "llrr", "the classes that are confused most often")


def calibrated(answers: Answers) -> list[Block]:
    """Returns the reliability diagram and the calibration error."""
    bins = reports.calibration(answers.predictions)
    confidence = float((bins.examples * bins.confidence).sum() / bins.examples.sum())
    accuracy = float(answers.correct.mean())
    how = "overconfident" if confidence > accuracy else "underconfident"
    text = (
        f"The mean confidence is {percent(confidence)}, the accuracy {percent(accuracy)}: on the"
        f" whole the network is {how}. The expected calibration error is {percent(bins.error)}: the"
        " mean distance of the points from the diagonal, by the number of their images."
    )
    figure = reliability([Bins("", *bins)])
    drawing = Drawing(page.inline(figure, "reliability diagram"))
    return [Columns([[Figures([drawing])], [Text(text)]])]


def speed(run: Examined, macs: int) -> list[Block]:
    """Returns what training cost: time, memory, multiply-adds.

    Args:
      run: any.
      macs: multiply-adds of one image.
    """
    _, rates = series(run.records, "images_per_second")
    _, waits = series(run.records, "waiting_for_data")
    _, peaks = series(run.records, "peak_memory")
    rates = rates[rates > 0]
    parameters = count_parameters(run.variables["params"])
    bytes_of = sum(int(leaf.nbytes) for leaf in jax.tree.leaves(run.variables["params"]))
    tiles = [
        ("parameters", count(parameters), f"{parameters:,}, {size(bytes_of)}"),
        ("multiply-adds", count(macs), f"{macs:,} of one image"),
    ]
    if len(rates):
        median = float(np.median(rates))
        seen = run.restored.step * run.config.train.batch_size
        tiles.append(("training speed", f"{median:,.0f} images/s", "median over the records"))
        tiles.append(
            ("training time", duration(seen / median), "without evaluations, by the speed")
        )
    if len(peaks):
        tiles.append(("peak memory", size(float(peaks.max())), _where(run)))
    blocks: list[Block] = [Tiles(tiles)]
    if len(waits):
        blocks.append(Text(f"On average {waits.mean():.1%} of the time passed waiting for data."))
    return blocks


def _where(run: Examined) -> str:
    device = str(run.meta.get("hardware", {}).get("device", ""))
    return "of the process" if device in ("", "cpu") else "of a device"
