"""Small pictures in rows and columns: as one array, and in the axes of a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcnn.figures.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 96  # pixels that a tile is enlarged to, at least
GAP = 0.06  # between tiles, as a share of a tile's side
SMALL = 6  # points, of a caption


class Sheet(NamedTuple):
    """Tiles put together.

    Attributes:
      pixels: uint8 [H, W, 3].
      corners: int [N, 2], row and column of the upper left pixel of each tile.
      side: height and width of a tile in it.
    """

    pixels: np.ndarray
    corners: np.ndarray
    side: tuple[int, int]


def as_pictures(values: np.ndarray, *, shared: bool = False, clipped: float = 0.0) -> np.ndarray:
    """Returns numbers with a sign as pictures, uint8 [N, H, W, 3]; zero is middle grey.

    Args:
      values: [N, H, W, C], C being 1 or 3; of other numbers of channels it is their mean.
      shared: one scale for all tiles; without, the largest magnitude of each tile is its own.
      clipped: share of the magnitudes, the largest ones, that are beyond the scale.
    """
    values = as_rgb(np.asarray(values, np.float64))
    axes = None if shared else (1, 2, 3)
    reach = np.quantile(np.abs(values), 1 - clipped, axis=axes, keepdims=True)
    shares = np.clip(values / np.where(reach > 0, reach, 1), -1, 1)
    return np.round(127.5 + 127.5 * shares).astype(np.uint8)


def as_rgb(values: np.ndarray) -> np.ndarray:
    """Returns pictures [..., C] as [..., 3]: grey ones repeated, the mean of other channels."""
    if values.shape[-1] == 3:
        return values
    grey = values if values.shape[-1] == 1 else values.mean(-1, keepdims=True, dtype=np.float64)
    return np.repeat(grey.astype(values.dtype), 3, axis=-1)


def enlarged(tiles: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Returns tiles [N, H, W, C] a whole number of times as large: H and W at least `side`."""
    times = max(1, -(-side // min(tiles.shape[1:3])))
    return tiles.repeat(times, axis=1).repeat(times, axis=2)


def sheet(tiles: np.ndarray, columns: int, *, background: int = 255) -> Sheet:
    """Returns tiles in rows of so many, with gaps between them.

    Args:
      tiles: uint8 [N, H, W, 3], N at least 1.
      columns: of a row; the last row may be shorter.
      background: grey of the gaps.
    """
    count, height, width, _ = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    gap = max(1, round(GAP * min(height, width)))
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    pixels = np.full(size, background, np.uint8)
    places = np.stack(np.divmod(np.arange(count), columns), axis=1)
    corners = places * (np.array([height, width]) + gap)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        pixels[top : top + height, left : left + width] = tile
    return Sheet(pixels, corners, (height, width))


def show_sheet(axes: "Axes", shown: Sheet, captions: Sequence[str] = ()) -> None:
    """Shows a sheet without ticks, each caption on the upper left corner of its tile.

    Args:
      axes: any.
      shown: of `sheet`.
      captions: one for each tile, or none; names of strangers go through `labels.label` first.
    """
    axes.set_axis_off()
    axes.imshow(shown.pixels)
    words: dict[str, Any] = {"fontsize": SMALL, "color": INK, "va": "top", "ha": "left"}
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.8}
    for caption, (top, left) in zip(captions, shown.corners, strict=False):
        axes.text(left, top, caption, bbox=box, **words)
