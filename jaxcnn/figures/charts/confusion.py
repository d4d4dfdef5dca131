"""The confusion matrix as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.figures import style
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES_SHOWN = 30  # classes beyond which the figure has numbers in place of names


def confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], title: Sequence[str], numbers: str = ""
) -> "Figure":
    """Returns a confusion matrix whose rows are coloured by their shares.

    Args:
      counts: int [K, K], by true class (rows) and predicted class (columns).
      class_names: K.
      title: lines above it.
      numbers: what tells the names of the numbers of many classes, such as a file.

    Raises:
      UserError: if matplotlib is missing.
    """
    classes = len(counts)
    named = classes <= NAMES_SHOWN
    side = 3.5 + 0.3 * classes if named else 10
    figure = style.new_figure(side + 1, side)
    axes = figure.subplots()
    shares = row_shares(counts)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if named:
        names = [label(name) for name in class_names]
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            place: dict[str, Any] = {"ha": "center", "va": "center", "color": color, "fontsize": 7}
            axes.text(column, row, str(counts[row, column]), **place)
    else:
        from matplotlib.ticker import MaxNLocator

        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(20, integer=True))
    by = "" if named else f", by its number{numbers and f' in {numbers}'}"
    axes.set(xlabel=f"predicted class{by}", ylabel=f"true class{by}")
    style.headline(figure, "\n".join(title))
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Returns counts, int [K, K], as shares of their row, float [K, K]; 0 in empty rows."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
