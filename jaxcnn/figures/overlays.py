"""What attribution says of an image, over the image or beside it, and all methods on one sheet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 8  # pictures in a row of a contact sheet
CLIPPED = 0.005  # of the pixels of a map, beyond the end of its scale
PALE = 0.55  # of an image below a map: the share of white
WORDS = 22  # characters above an image of a contact sheet


class Explained(NamedTuple):
    """What one method says of one image.

    Attributes:
      method: its name.
      values: [H, W] of a map, else [H, W, C].
      kind: "map" of numbers from zero on; "signed_map"; "pixels", changes of the image with a sign;
        or "image", an image of its own from 0 to 1.
      note: a line above it, such as the layer; may be empty.
    """

    method: str
    values: np.ndarray
    kind: str = "map"
    note: str = ""


def overlay(image: np.ndarray, values: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """Returns a map over a pale grey image, uint8 [H, W, 3].

    The larger a magnitude, the less of the image is seen: nothing of it at the end of the scale.
    Colours are the sequential ones from zero on, or the diverging ones, symmetric about zero. The
    scale ends at `reach_of` the map.

    Args:
      image: uint8 [H, W, 1 or 3].
      values: [H, W].
      signed: numbers have a sign.
    """
    return _blended(image, values / reach_of(values), signed=signed)


def _blended(image: np.ndarray, shares: np.ndarray, *, signed: bool) -> np.ndarray:
    """Returns the colours of shares [H, W], 1 at the end of the scale, over an image."""
    colors = style.colored(shares, signed=signed).astype(np.float64)
    grey = 255 * PALE + (1 - PALE) * tiles.as_rgb(image).mean(-1, keepdims=True)
    covered = np.minimum(np.abs(shares[..., None]), 1)
    return np.round(covered * colors + (1 - covered) * grey).astype(np.uint8)


def reach_of(values: np.ndarray) -> float:
    """Returns the magnitude at which a scale ends: half a percent of the pixels are beyond it.

    A few pixels of a gradient are many times as large as all others, which would be invisible.
    """
    reach = float(np.quantile(np.abs(values), 1 - CLIPPED))
    return reach or float(np.abs(values).max()) or 1.0


def picture(image: np.ndarray, explained: Explained) -> np.ndarray:
    """Returns what a method says of an image as uint8 [H, W, 3]: an `overlay` of a map.

    Pictures of input pixels are shown beside the image and not over it; zero is middle grey.

    Args:
      image: uint8 [H, W, 1 or 3].
      explained: of this image.
    """
    values = explained.values
    if explained.kind == "image":
        return tiles.as_rgb(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8))
    if explained.kind == "pixels":
        return tiles.as_pictures(values[None], clipped=CLIPPED)[0]
    return overlay(image, values, signed=explained.kind == "signed_map")


def draw_overlay(image: np.ndarray, explained: Explained, words: str) -> "Figure":
    """Draws an image, and beside it what a method says of it, with the scale of a map.

    Args:
      image: uint8 [H, W, 1 or 3].
      explained: of this image.
      words: lines: which class is explained, and how likely it is; made harmless here.
    """
    figure = style.new_figure(6.4, 3.2)
    left, right = style.new_axes(figure, 1, 2, grid=False)[0]
    _show(left, tiles.enlarged(tiles.as_rgb(image)[None])[0])
    shown = picture(image, explained)
    _show(right, tiles.enlarged(shown[None])[0])
    if explained.kind in ("map", "signed_map"):
        _scale(figure, right, explained.values, signed=explained.kind == "signed_map")
    note = f"\n{label(explained.note, 36)}" if explained.note else ""
    style.describe(right, explained.method + note)
    style.headline(figure, words)
    return figure


def draw_contact_sheet(
    images: Sequence[np.ndarray], rows: Sequence[Sequence[Explained]], words: Sequence[str]
) -> "Figure":
    """Draws a row for each image: the image, then what each method says of it.

    Args:
      images: n, uint8 [H, W, 1 or 3] of one size.
      rows: n, of one length, each with the same methods.
      words: n, which class is explained; made harmless here.
    """
    wrapped = min(1 + len(rows[0]), ACROSS)
    lines = -(-len(rows[0]) // (wrapped - 1))
    figure = style.new_figure(1.25 * wrapped, 1.42 * lines * len(rows) + 0.1)
    panels = style.new_axes(figure, lines * len(rows), wrapped, grid=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, (image, row, line) in enumerate(zip(images, rows, words, strict=True)):
        block = panels[number * lines : (number + 1) * lines]
        _show(block[0, 0], tiles.enlarged(tiles.as_rgb(image)[None])[0])
        _entitle(block[0, 0], "\n".join(label(part, WORDS) for part in line.split("\n")))
        for axes, explained in zip(block[:, 1:].flat, row, strict=False):
            _show(axes, tiles.enlarged(picture(image, explained)[None])[0])
            _entitle(axes, explained.method)
    return figure


def _entitle(axes: "Axes", text: str) -> None:
    axes.set_title(text, fontsize=tiles.SMALL, color=style.INK)


def _show(axes: "Axes", pixels: np.ndarray) -> None:
    axes.set_axis_off()
    axes.imshow(pixels)


def _scale(figure: "Figure", axes: "Axes", values: np.ndarray, *, signed: bool) -> None:
    """Adds the colour bar of `overlay`, as its colours are over middle grey."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    reach = reach_of(values)
    shares = np.linspace(-1 if signed else 0, 1, 256)[None]
    colors = _blended(np.full((1, 256, 1), 128, np.uint8), shares, signed=signed)[0] / 255
    mappable = ScalarMappable(Normalize(-reach if signed else 0, reach), ListedColormap(colors))
    beyond = "neither" if np.abs(values).max() <= reach else "both" if signed else "max"
    bar = figure.colorbar(mappable, ax=axes, shrink=0.9, extend=beyond)
    bar.ax.tick_params(labelsize=style.FONT - 1)
    bar.ax.yaxis.get_offset_text().set_fontsize(style.FONT - 1)
    bar.outline.set_visible(False)
