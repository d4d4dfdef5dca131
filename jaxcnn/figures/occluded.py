"""What a network says of an image of which a square is grey, square by square.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, figure 7.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = len(style.PALETTE)  # classes with a colour of their own


class Occluded(NamedTuple):
    """An image and the network's answers, by the place of the square.

    Attributes:
      image: uint8 [H, W, 1 or 3].
      feature: sum of the strongest map, [R, C].
      probability: of the class, [R, C].
      likeliest: class, int [R, C].
      class_name: of the class whose probability it is.
    """

    image: np.ndarray
    feature: np.ndarray
    probability: np.ndarray
    likeliest: np.ndarray
    class_name: str


def draw_occluded(
    rows: Sequence[Occluded], class_names: Sequence[str], title: str = ""
) -> "Figure":
    """Draws a row for each image: the image, and three maps over the place of the square.

    The maps are the sum of the map that is strongest in the whole image, the probability of the
    class, and the likeliest class.

    Args:
      rows: at least one.
      class_names: of all classes.
      title: of the figure; names of strangers are made harmless here.
    """
    figure = style.new_figure(8.4, 1.95 * len(rows) + 0.4)
    panels = style.new_axes(figure, len(rows), 4, grid=False)
    for axes, row in zip(panels, rows, strict=True):
        axes[0].set_axis_off()
        axes[0].imshow(tiles.enlarged(tiles.as_rgb(row.image)[None])[0])
        style.describe(axes[0], label(row.class_name, 20))
        for place, values, about, limits in (
            (axes[1], row.feature, "sum of the strongest map", None),
            (axes[2], row.probability, "probability of the class", (0.0, 1.0)),
        ):
            shown = style.show(place, values, limits=limits)
            style.describe(place, about)
            bar = figure.colorbar(shown, ax=place, shrink=0.85)
            bar.ax.tick_params(labelsize=tiles.SMALL)
            bar.ax.yaxis.get_offset_text().set_fontsize(tiles.SMALL)
            bar.outline.set_visible(False)
        _draw_classes(axes[3], row.likeliest, class_names)
    if title:
        style.headline(figure, title)
    return figure


def _draw_classes(axes: "Axes", likeliest: np.ndarray, class_names: Sequence[str]) -> None:
    """Shows the likeliest class of each place, the most frequent classes with their names."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    axes.set_axis_off()
    found, counts = np.unique(likeliest, return_counts=True)
    common = found[np.argsort(-counts, kind="stable")][:NAMED]
    numbers = np.full(likeliest.shape, NAMED)
    for number, one in enumerate(common):
        numbers[likeliest == one] = number
    colors = [*style.PALETTE, style.GREY]
    axes.imshow(numbers, cmap=ListedColormap(colors), vmin=0, vmax=len(colors) - 1)
    style.describe(axes, "likeliest class")
    entries = [
        Patch(color=colors[n], label=label(class_names[one], 16)) for n, one in enumerate(common)
    ]
    if len(found) > len(common):
        entries.append(Patch(color=style.GREY, label="others"))
    style.legend(axes, handles=entries, loc="center left", bbox_to_anchor=(1, 0.5))
