"""Curves of a run: a quantity over the epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.6, 2.6  # inches: text of 8 points stays readable at the width of a phone
FEW = 25  # points that are marked one by one
DECADES = 1.5  # powers of ten from which the axis of a positive quantity is logarithmic
LONGEST = 28  # characters of a name in the legend
MOST_NAMES = 8  # in the legend of a figure of this size


class Line(NamedTuple):
    """One curve.

    Attributes:
      name: for the legend; "" leaves it out.
      x: float [n].
      y: float [n]; what is not finite leaves a gap.
      number: of its colour; see `style.line_style`.
      faint: drawn thin and pale, behind the others.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    number: int = 0
    faint: bool = False


def curves(
    lines: Sequence[Line], title: str, y: str, *, percent: bool = False, log: bool = False
) -> "Figure":
    """Returns a figure of curves over the epochs.

    Args:
      lines: at least one.
      title: of the figure.
      y: what the vertical axis counts.
      percent: values are shares from 0 to 1, shown in percent.
      log: the vertical axis is logarithmic if positive values span more than a decade and a half.

    Raises:
      UserError: if matplotlib is missing.
    """
    figure = style.new_figure(WIDTH, HEIGHT)
    axes = style.new_axes(figure)[0, 0]
    for line in lines:
        drawn = style.line_style(line.number)
        drawn |= {"linewidth": 0.9, "alpha": 0.55, "zorder": 1} if line.faint else {"zorder": 2}
        marker = "." if len(line.x) < FEW else ""
        values = line.y * 100 if percent else line.y
        axes.plot(line.x, values, marker=marker, markersize=4, label=_named(line.name), **drawn)
    if log and _spans_decades(lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # exponents would be too small to read
        axes.yaxis.set_minor_formatter("")
    style.describe(axes, title, "epoch", f"{y}, %" if percent else y)
    named = [line for line in lines if line.name]
    if 1 < len(named) <= MOST_NAMES:
        style.legend(axes)
    return figure


def _named(name: str) -> str:
    """Returns a name for the legend; matplotlib leaves out those that begin with an underscore."""
    text = label(name, LONGEST)
    return text if not text.startswith("_") else f"\u200a{text}"


def _spans_decades(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    if not values.size or values.min() <= 0:
        return False
    return bool(np.log10(values.max() / values.min()) > DECADES)
