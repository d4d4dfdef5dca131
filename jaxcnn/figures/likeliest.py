"""Images with their likeliest classes, and the images that a network finds similar.

Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
figure 4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = 5


class Answered(NamedTuple):
    """An image and what a network answers.

    Attributes:
      image: uint8 [H, W, 1 or 3].
      names: of the likeliest classes, the likeliest first.
      probabilities: [n], of these classes.
      truth: the true class's name; "" if it is not known.
      neighbours: uint8 [m, H, W, 1 or 3], the most similar images, the nearest first.
      distances: [m], of the neighbours.
    """

    image: np.ndarray
    names: Sequence[str]
    probabilities: np.ndarray
    truth: str
    neighbours: np.ndarray
    distances: np.ndarray


def draw_likeliest(rows: Sequence[Answered], title: str = "") -> "Figure":
    """Draws for each image: the image, bars of its likeliest classes, its neighbours.

    The bar of the true class is orange, the others are blue. A true class that is not among the
    likeliest is named above the bars.

    Args:
      rows: at least one, with equally many neighbours, which may be none.
      title: of the figure; names of strangers are made harmless here.
    """
    near = len(rows[0].neighbours)
    ratios = (1, 2.2, *[1] * near)
    figure = style.new_figure(1.2 * sum(ratios) + 0.6, 1.5 * len(rows) + 0.4)
    panels = style.new_axes(figure, len(rows), 2 + near, grid=False, width_ratios=ratios)
    for axes, row in zip(panels, rows, strict=True):
        _show(axes[0], row.image)
        style.describe(axes[0], label(row.truth, 16) if row.truth else "")
        _bars(axes[1], row)
        for place, image, distance in zip(axes[2:], row.neighbours, row.distances, strict=True):
            _show(place, image)
            style.describe(place, f"at {distance:.3g}")
    if title:
        style.headline(figure, title)
    return figure


def _show(axes: "Axes", image: np.ndarray) -> None:
    axes.set_axis_off()
    axes.imshow(tiles.enlarged(tiles.as_rgb(image)[None])[0])


def _bars(axes: "Axes", row: Answered) -> None:
    places = range(len(row.names))
    colors = [style.PALETTE[name == row.truth] for name in row.names]
    axes.barh(places, row.probabilities, color=colors, height=0.72)
    axes.set(xlim=(0, 1), yticks=[], xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.invert_yaxis()
    for place, name, share in zip(places, row.names, row.probabilities, strict=True):
        inside = share > 0.5
        words: dict[str, Any] = {
            "color": "white" if inside else style.INK,
            "fontsize": style.FONT - 1,
        }
        text = f"{label(name, 24)}  {share:.1%}"
        axes.text(0.02 if inside else share + 0.02, place, text, va="center", **words)
