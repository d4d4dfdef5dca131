"""The figure of an ablation: curves, and beside them the last values with their intervals."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.evidence import Evidence, by_variant
from jaxcnn.ablation.report import paragraphs
from jaxcnn.ablation.statistics import interval
from jaxcnn.figures import style
from jaxcnn.figures.labels import label

LONGEST_TITLE = 90  # characters


def draw(ablation: Ablation, text: str, evidence: Evidence, files: Sequence[Path]) -> None:
    """Draws the curves, and beside them the last values with their intervals and the names.

    Args:
      ablation: the compared variants.
      text: what its file says of it; the first line is the title.
      evidence: of its runs.
      files: where the figure goes, as .png or .svg.

    Raises:
      UserError: if matplotlib is missing.
    """
    rows = by_variant(ablation, evidence.results)
    figure = style.new_figure(10, 0.28 * max(len(rows), 6) + 2.5)
    style.headline(figure, paragraphs(text)[0].rstrip("."))
    single = all(len(row.curve) < 2 for row in evidence.results)
    layout: dict[str, Any] = {} if single else {"width_ratios": (3, 2)}
    axes = style.new_axes(figure, 1, 1 if single else 2, **layout)[0]
    values = axes[-1]
    for number, (_variant, found) in enumerate(rows.items()):
        line = style.line_style(number)
        if not single:
            _draw_curve(axes[0], ablation, [dict(row.curve) for row in found], line)
        _draw_value(values, number, ablation, [row.value for row in found], line)
    metric = label(ablation.quantity, LONGEST_TITLE)
    if not single:
        style.describe(axes[0], x=label(ablation.x), y=metric)
    if ablation.logarithmic:
        values.set_xscale("log")
        _few_ticks(values.xaxis)
        if not single:
            axes[0].set_yscale("log")
            if ablation.measure is None:  # a run that explodes would hide the others
                starts = [row.curve[0][1] for row in evidence.results]
                start = max(filter(math.isfinite, starts), default=math.inf)
                axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 10 * start))
            _few_ticks(axes[0].yaxis)
    else:
        values.locator_params(axis="x", nbins=5)
    if not single:
        axes[0].locator_params(axis="x", integer=True)
    values.set_yticks(range(len(rows)), [label(name) for name in rows])
    for number, name in enumerate(values.get_yticklabels()):
        name.set_color(style.line_style(number)["color"])
    values.invert_yaxis()
    style.describe(values, x=f"{metric}\nat the end, 95 % interval")
    for file in files:
        style.save(figure, file)


def _draw_curve(
    axes: Any, ablation: Ablation, found: Sequence[dict[float, float]], line: dict[str, Any]
) -> None:
    xs = sorted(set.intersection(*(set(points) for points in found)))
    ys = np.array([[points[x] for x in xs] for points in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.exp(np.log(ys).mean(0)) if ablation.logarithmic else ys.mean(0)
    inside = line["color"] if line["linestyle"] == "-" else "white"
    marker = "." if len(xs) < 25 else ""
    axes.plot(xs, means, marker=marker, markerfacecolor=inside, **line)
    axes.fill_between(xs, ys.min(0), ys.max(0), color=line["color"], alpha=0.15, lw=0)


def _draw_value(
    axes: Any, number: int, ablation: Ablation, values: Sequence[float], line: dict[str, Any]
) -> None:
    color = line["color"]
    good = [value for value in values if math.isfinite(value)]
    if not good:
        words: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": color}
        axes.text(0.5, number, "not finite", ha="center", va="center", **words)
        return
    found = interval(good, log=ablation.logarithmic).cut(ablation.bounds)
    reach = np.nan_to_num([[found.mean - found.low], [max(found.high - found.mean, 0.0)]])
    inside = color if line["linestyle"] == "-" else "white"
    axes.plot(good, [number] * len(good), "|", color=color, alpha=0.5)
    mark: dict[str, Any] = {"fmt": "o", "capsize": 3, "markerfacecolor": inside}
    axes.errorbar(found.mean, number, xerr=reach, color=color, **mark)


def _few_ticks(axis: Any) -> None:
    """Labels a logarithmic axis at powers of ten, a short one also at 2 and 5 or at equal steps."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    if 0 < low < high < 300 * low:
        short = high < 6 * low
        axis.set_major_locator(
            ticker.MaxNLocator(5, steps=[1, 2, 5, 10])
            if short
            else ticker.LogLocator(subs=(1, 2, 5))
        )
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
