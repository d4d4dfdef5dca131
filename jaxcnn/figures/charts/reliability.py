"""The reliability diagram: how often a classifier is right at each confidence.

DeGroot and Fienberg, "The comparison and evaluation of forecasters", 1983; for networks Guo et al.,
"On Calibration of Modern Neural Networks", 2017, arXiv 1706.04599, figure 1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style
from jaxcnn.figures.charts.curves import LONGEST, MOST_NAMES
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.6, 3.9  # inches


class Bins(NamedTuple):
    """Examples of one classifier by its confidence, in bins of equal width from 0 to 1.

    Attributes:
      name: for the legend.
      examples: int [bins].
      accuracy: float [bins], share of hits.
      confidence: float [bins], mean probability of the predicted class.
    """

    name: str
    examples: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray


def reliability(classifiers: Sequence[Bins]) -> "Figure":
    """Returns the diagram, and below it the number of examples in each bin.

    A calibrated classifier lies on the diagonal, an overconfident one below it. The distance of a
    bin counts for the calibration error by the number of its examples.

    Args:
      classifiers: at least one; empty bins are left out.

    Raises:
      UserError: if matplotlib is missing.
    """
    figure = style.new_figure(WIDTH, HEIGHT)
    above, below = style.new_axes(figure, 2, 1, sharex=True, height_ratios=(3, 1))[:, 0]
    above.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle="--")
    for number, one in enumerate(classifiers):
        drawn = style.line_style(number)
        kept = one.examples > 0
        confidence, accuracy = one.confidence[kept], one.accuracy[kept]
        if len(classifiers) == 1:
            above.vlines(confidence, confidence, accuracy, colors=style.PALETTE[1], linewidth=2)
        above.plot(
            confidence, accuracy, marker="o", markersize=3, label=label(one.name, LONGEST), **drawn
        )
        edges = np.linspace(0, 1, len(one.examples) + 1)
        if len(classifiers) == 1:
            below.bar(edges[:-1], one.examples, np.diff(edges), align="edge", color=drawn["color"])
        else:
            below.stairs(one.examples, edges, color=drawn["color"], linestyle=drawn["linestyle"])
    above.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
    below.set_yscale("symlog", linthresh=1)
    below.yaxis.set_major_formatter("{x:g}")
    below.set_ylim(bottom=0)
    style.describe(above, "reliability", "", "accuracy")
    style.describe(below, "", "confidence", "examples")
    if 1 < len(classifiers) <= MOST_NAMES:
        style.legend(above, loc="lower right")
    return figure
