"""What an ablation found: results.csv, curves.csv, results.md, figure.svg and figure.png.

Intervals are Student's t at 95 % over seeds, cut where the metric ends: an accuracy is at most 1.
The difference to the baseline is taken seed by seed: runs of one seed see the same batches.
"""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.runs import Result
from jaxcnn.ablation.sizes import Size
from jaxcnn.figures import style
from jaxcnn.figures.labels import cell, label
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell

LONGEST_TITLE = 90  # characters


class Interval(NamedTuple):
    """A mean and how far the interval of 95 % reaches on either side.

    The latter is nan for a single value, and both are if a value is not finite.
    """

    mean: float
    half: float

    def __str__(self) -> str:
        """Returns "0.939 ± 0.047": two digits of the interval that count, as many of the mean."""
        if math.isnan(self.mean):
            return "not finite"
        (mean, *half), power = _rounded(self.mean, self.half)
        text = f"{mean} ± {half[0]}" if half else mean
        return f"({text})e{power}" if power else text

    def cut(self, limits: tuple[float, float]) -> tuple[float, float]:
        """Returns the ends of the interval within the values that a metric can have."""
        low, high = limits
        half = 0.0 if math.isnan(self.half) else self.half
        return (max(self.mean - half, min(low, self.mean)), min(self.mean + half, high))

    def ends(self, limits: tuple[float, float]) -> str:
        """Returns "0.892 to 0.986", with the digits of the whole; "" for a single value."""
        if math.isnan(self.half):
            return ""
        (_, _, low, high), power = _rounded(self.mean, self.half, *self.cut(limits))
        text = f"{low} to {high}"
        return f"({text})e{power}" if power else text


def _rounded(mean: float, half: float, *more: float) -> tuple[list[str], int]:
    """Returns numbers with the same decimals, and the power of ten that they are multiples of."""
    numbers = [mean, *([] if math.isnan(half) else [half]), *more]
    largest = max(abs(mean), 0.0 if math.isnan(half) else half)
    power = math.floor(math.log10(largest)) if largest else 0
    power = power if not -4 < power < 6 else 0
    scaled = [number / 10.0**power for number in numbers]
    unit = half / 10.0**power if half > 0 else 0.0  # nan is not
    digits = 1 - math.floor(math.log10(float(f"{unit:.1e}"))) if unit else 4
    return [f"{number:.{min(max(digits, 0), 6)}f}" for number in scaled], power


def interval(values: Sequence[float]) -> Interval:
    """Returns the mean of independent values and Student's interval."""
    from scipy import stats

    count = len(values)
    if not np.all(np.isfinite(values)):
        return Interval(math.nan, math.nan)
    if count < 2:
        return Interval(float(np.mean(values)), math.nan)
    error = statistics.stdev(values) / math.sqrt(count)  # exactly 0 of equal values
    return Interval(float(np.mean(values)), float(stats.t.ppf(0.975, count - 1) * error))


def write(
    ablation: Ablation,
    text: str,
    results: Sequence[Result],
    sizes: Mapping[str, Size],
    out: Path,
) -> str:
    """Writes all files but the figure, each whole or not at all, and returns the table.

    Args:
      ablation: the compared variants.
      text: what its file says of it.
      results: of all runs that are done.
      sizes: of each variant's network.
      out: the directory.
    """
    order = list(ablation.variants)
    rows = sorted(results, key=lambda row: (order.index(row.task.variant), row.task.seed))
    head = ["variant", "seed", ablation.metric, *Size._fields]
    values = [(*row.task, row.value, *sizes[row.task.variant]) for row in rows]
    _write_csv(out / "results.csv", head, values)
    points = [(*row.task, x, y) for row in rows for x, y in row.curve]
    _write_csv(out / "curves.csv", ["variant", "seed", ablation.x, ablation.metric], points)
    shown = table(ablation, rows, sizes)
    figure = "![mean over seeds; bands from the lowest to the highest](figure.svg)"
    _write(out / "results.md", f"{text.strip()}\n\n{shown}\n{figure}\n")
    return shown


def table(ablation: Ablation, results: Sequence[Result], sizes: Mapping[str, Size]) -> str:
    """Returns the Markdown table: size, mean, interval and difference of each variant."""
    by_variant = _by_variant(ablation, results)
    baselines = ablation.baselines
    common = set(baselines.values())
    to = f" to {cell(next(iter(common)))}" if len(common) == 1 else ""
    lines = [
        f"| variant | parameters | multiply-adds | seeds | {cell(ablation.metric)}"
        f" | 95 % interval | difference{to} |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for variant, values in by_variant.items():
        base = by_variant.get(baselines.get(variant, ""), {})
        both = [seed for seed in values if seed in base]
        difference = ""
        if both:
            between = interval([values[seed] - base[seed] for seed in both])
            difference = f"{'+' * (between.mean >= 0)}{between}"
            difference += "" if to else f" to {cell(baselines[variant])}"
        found = interval(list(values.values()))
        size = sizes[variant]
        lines.append(
            f"| {cell(variant)} | {size.parameters:,} | {size.macs:,} | {len(values)}"
            f" | {found} | {found.ends(ablation.bounds)} | {difference} |"
        )
    return "\n".join(lines) + "\n"


def draw(ablation: Ablation, text: str, results: Sequence[Result], out: Path) -> None:
    """Draws the curves, and beside them the last values with their intervals and the names.

    Args:
      ablation: the compared variants.
      text: what its file says of it; the first line is the title.
      results: of all runs that are done.
      out: the directory.

    Raises:
      UserError: if matplotlib is missing.
    """
    by_variant = _by_variant(ablation, results)
    figure = style.new_figure(10, 0.28 * max(len(by_variant), 6) + 2.5)
    title = (text.strip().splitlines() or [""])[0].rstrip(".")
    style.headline(figure, title)
    curves, values = style.new_axes(figure, 1, 2, width_ratios=(3, 2))[0]
    for number, (variant, found) in enumerate(by_variant.items()):
        line = style.line_style(number)
        _draw_curve(
            curves, [dict(row.curve) for row in results if row.task.variant == variant], line
        )
        _draw_value(values, number, interval(list(found.values())), ablation.bounds, line["color"])
    metric = label(ablation.metric, LONGEST_TITLE)
    style.describe(curves, x=label(ablation.x), y=metric)
    if ablation.log_y:
        curves.set_yscale("log")
        values.set_xscale("log")
    values.set_yticks(range(len(by_variant)), [label(name) for name in by_variant])
    for number, name in enumerate(values.get_yticklabels()):
        name.set_color(style.line_style(number)["color"])
    values.invert_yaxis()
    style.describe(values, x=f"{metric}\nat the end, 95 % interval")
    for kind in style.KINDS:
        style.save(figure, out / f"figure{kind}")


def _draw_curve(axes: Any, found: Sequence[dict[float, float]], line: dict[str, Any]) -> None:
    xs = sorted(set.intersection(*(set(points) for points in found)))
    ys = np.array([[points[x] for x in xs] for points in found])
    axes.plot(xs, ys.mean(0), marker="." if len(xs) < 25 else "", **line)
    axes.fill_between(xs, ys.min(0), ys.max(0), color=line["color"], alpha=0.15, lw=0)


def _draw_value(
    axes: Any, number: int, found: Interval, limits: tuple[float, float], color: str
) -> None:
    if math.isnan(found.mean):
        words: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": color}
        axes.text(0.5, number, "not finite", ha="center", va="center", **words)
        return
    low, high = found.cut(limits)
    reach = [[found.mean - low], [max(high - found.mean, 0.0)]]
    axes.errorbar(found.mean, number, xerr=reach, fmt="o", color=color, capsize=3)


def _by_variant(ablation: Ablation, results: Sequence[Result]) -> dict[str, dict[int, float]]:
    """Returns the values by variant, in their order, and seed."""
    found: dict[str, dict[int, float]] = {}
    for variant in ablation.variants:
        values = {row.task.seed: row.value for row in results if row.task.variant == variant}
        if values:
            found[variant] = dict(sorted(values.items()))
    return found


def _write_csv(file: Path, head: Sequence[str], rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(csv_cell, head))
    writer.writerows(map(csv_cell, row) for row in rows)
    _write(file, text.getvalue())


def _write(file: Path, text: str) -> None:
    with whole_file(file) as stream:
        stream.write(text.encode())
