"""Maps of one image at every stage of a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10  # maps of a layer


def strongest_channels(maps: np.ndarray, count: int = SHOWN) -> np.ndarray:
    """Returns the channels of a layer with the largest magnitudes, int [count], the largest first.

    Args:
      maps: [H, W, C].
      count: at most C are returned.
    """
    return np.argsort(-np.abs(maps).max((0, 1)), kind="stable")[:count]


def draw_maps(image: np.ndarray, maps: Mapping[str, np.ndarray], title: str = "") -> "Figure":
    """Draws the strongest maps of each layer in a row, with the numbers of their channels.

    A row has one scale: from zero to its largest value, or symmetric about zero if the layer has
    negative values. The words before a row say which, and how many maps are zero everywhere.

    Args:
      image: uint8 [H, W, 1 or 3].
      maps: by layer, in the order of computation: [h, w, C], or [C] for a layer without maps.
      title: of the figure; names of strangers are made harmless here.
    """
    rows = 1 + len(maps)
    figure = style.new_figure(8, 0.72 * rows + 0.4)
    panels = style.new_axes(figure, rows, 2, grid=False, width_ratios=(1.6, SHOWN))
    picture = tiles.enlarged(tiles.as_rgb(image)[None])
    first = tiles.sheet(_padded(picture), SHOWN)
    tiles.show_sheet(panels[0, 1], first)
    _say(panels[0, 0], "image", f"{image.shape[0]}x{image.shape[1]}")
    for axes, (name, values) in zip(panels[1:], maps.items(), strict=True):
        values = values.reshape(1, 1, -1) if values.ndim == 1 else values
        _draw_row(axes[1], np.asarray(values, np.float64))
        _say(axes[0], *describe_row(name, values))
    if title:
        style.headline(figure, title)
    return figure


def describe_row(name: str, maps: np.ndarray) -> tuple[str, ...]:
    """Returns the lines beside the maps [h, w, C] of a layer: name, size, scale."""
    height, width, count = maps.shape
    least, greatest = float(maps.min()), float(maps.max())
    reach = max(-least, greatest)
    scale = f"-{reach:.3g} to {reach:.3g}" if least < 0 else f"0 to {greatest:.3g}"
    dead = int((maps == 0).all((0, 1)).sum())
    size = f"{height}x{width}, {min(count, SHOWN)} of {count}"
    return name, size, scale + (f", {dead} all zero" if dead else "")


def _draw_row(axes: "Axes", maps: np.ndarray) -> None:
    chosen = strongest_channels(maps)
    signed = bool(maps.min() < 0)
    reach = float(np.abs(maps).max()) or 1.0
    colors = style.colored(np.moveaxis(maps[..., chosen], -1, 0) / reach, signed=signed)
    row = tiles.sheet(_padded(tiles.enlarged(colors)), SHOWN)
    tiles.show_sheet(axes, row, [str(channel) for channel in chosen])


def _padded(pictures: np.ndarray) -> np.ndarray:
    """Returns a row of pictures filled up with white ones, so that all rows have one width."""
    missing = [(0, SHOWN - len(pictures)), (0, 0), (0, 0), (0, 0)]
    return np.pad(pictures, missing, constant_values=255)


def _say(axes: "Axes", *lines: str) -> None:
    axes.set_axis_off()
    words = "\n".join(label(line, 40) for line in lines)
    place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 7, "color": style.INK}
    axes.text(1, 0.5, words, transform=axes.transAxes, **place)
