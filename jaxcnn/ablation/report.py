"""What an ablation found: results.csv, curves.csv, results.md, figure.svg and figure.png.

Intervals are Student's t at 95 % over seeds. The difference to the baseline is taken seed by seed:
runs of one seed see the same batches.
"""

import csv
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.runs import Result
from jaxcnn.errors import UserError


class Interval(NamedTuple):
    """A mean and how far the interval of 95 % reaches on either side.

    The latter is nan for a single value, and both are if a value is not finite.
    """

    mean: float
    half: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "not finite"
        return f"{self.mean:.4g}" if math.isnan(self.half) else f"{self.mean:.4g} ± {self.half:.2g}"


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


def write(ablation: Ablation, text: str, results: Sequence[Result], out: Path) -> str:
    """Writes all files but the figure and returns the table.

    Args:
      ablation: what was compared.
      text: what its file says of it.
      results: of all runs that are done.
      out: the directory.
    """
    order = list(ablation.variants)
    rows = sorted(results, key=lambda row: (order.index(row.task.variant), row.task.seed))
    _write_csv(out / "results.csv", ablation.metric, [(*row.task, row.value) for row in rows])
    points = [(*row.task, x, y) for row in rows for x, y in row.curve]
    _write_csv(out / "curves.csv", ablation.metric, points, ablation.x)
    shown = table(ablation, rows)
    figure = "![mean over seeds; bands from the lowest to the highest](figure.svg)"
    (out / "results.md").write_text(f"{text.strip()}\n\n{shown}\n{figure}\n")
    return shown


def table(ablation: Ablation, results: Sequence[Result]) -> str:
    """Returns the Markdown table: mean, interval and difference to the baseline of each variant."""
    by_variant = _by_variant(ablation, results)
    base = by_variant.get(ablation.reference, {})
    lines = [
        f"| variant | seeds | {ablation.metric} | difference to {ablation.reference} |",
        "|---|--:|--:|--:|",
    ]
    for variant, values in by_variant.items():
        both = [seed for seed in values if seed in base]
        difference = ""
        if variant != ablation.reference and both:
            found = interval([values[seed] - base[seed] for seed in both])
            difference = f"{'+' * (found.mean >= 0)}{found}"
        found = interval(list(values.values()))
        lines.append(f"| {variant} | {len(values)} | {found} | {difference} |")
    return "\n".join(lines) + "\n"


def draw(ablation: Ablation, results: Sequence[Result], out: Path) -> None:
    """Draws the curves, and beside them the last values with their intervals and the names.

    Raises:
      UserError: if matplotlib is missing.
    """
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("the figure needs matplotlib: pip install 'jaxcnn[plots]'") from None
    by_variant = _by_variant(ablation, results)
    rcParams["svg.hashsalt"] = "jaxcnn"  # the same file from the same numbers
    figure = Figure(figsize=(10, 0.28 * max(len(by_variant), 6) + 2.2), layout="constrained")
    curves, values = figure.subplots(1, 2, width_ratios=(3, 2))
    colors = [f"C{number}" for number in range(10)]
    for number, variant in enumerate(by_variant):
        found = [dict(result.curve) for result in results if result.task.variant == variant]
        xs = sorted(set.intersection(*(set(points) for points in found)))
        ys = np.array([[points[x] for x in xs] for points in found])
        style = {"color": colors[number % 10], "ls": ["-", "--", ":"][number // 10 % 3]}
        curves.plot(xs, ys.mean(0), marker="." if len(xs) < 25 else "", **style)
        curves.fill_between(xs, ys.min(0), ys.max(0), color=style["color"], alpha=0.15, lw=0)
        mean, half = interval(list(by_variant[variant].values()))
        error = 0.0 if math.isnan(half) else half
        values.errorbar(mean, number, xerr=error, fmt="o", color=style["color"], capsize=3)
    curves.set(xlabel=ablation.x, ylabel=ablation.metric)
    if ablation.log_y:
        curves.set_yscale("log")
        values.set_xscale("log")
    values.set_yticks(range(len(by_variant)), list(by_variant))
    for number, name in enumerate(values.get_yticklabels()):
        name.set_color(colors[number % 10])
    values.invert_yaxis()
    values.set(xlabel="last value, 95 % interval")
    for axes in (curves, values):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "figure.svg", metadata={"Date": None})
    figure.savefig(out / "figure.png", dpi=150)


def _by_variant(ablation: Ablation, results: Sequence[Result]) -> dict[str, dict[int, float]]:
    """Returns the values by variant, in their order, and seed."""
    found: dict[str, dict[int, float]] = {}
    for variant in ablation.variants:
        values = {row.task.seed: row.value for row in results if row.task.variant == variant}
        if values:
            found[variant] = dict(sorted(values.items()))
    return found


def _write_csv(file: Path, metric: str, rows: Sequence[tuple], *between: str) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["variant", "seed", *between, metric])
        writer.writerows(rows)
