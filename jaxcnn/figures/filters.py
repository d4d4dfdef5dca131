"""Filters of the first convolution, as pictures.

Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
figure 3.
"""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.figures import style, tiles
from jaxcnn.figures.labels import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 12  # of a panel


def draw_filters(kernel: np.ndarray, name: str = "") -> "Figure":
    """Draws all filters twice: at one scale for all, and each at a scale of its own.

    The first panel says which filters are weak, the second shows what is in them. Zero is middle
    grey; of filters on a grey image it is white, positive weights are red, negative ones blue.

    Args:
      kernel: [h, w, C, F], C being 1 or 3; of other numbers the mean over the channels is shown.
      name: of the layer, for the title.

    Raises:
      UserError: for filters of one pixel, or if matplotlib is missing.
    """
    height, width, channels, count = kernel.shape
    if height * width == 1:
        raise UserError(f"the filters of {name or 'this layer'} are 1x1: there is nothing to see")
    columns = _columns(count)
    rows = -(-count // columns)
    figure = style.new_figure(8, 3.9 * rows * height / (columns * width) + 0.6)
    panels = style.new_axes(figure, 1, 2, grid=False)[0]
    titles = ("one scale for all filters", "each filter at a scale of its own")
    for axes, title, shared in zip(panels, titles, (True, False), strict=True):
        tiles.show_sheet(axes, filter_sheet(kernel, shared=shared))
        style.describe(axes, title)
    mean = "" if channels in (1, 3) else ", mean over the input channels"
    size = f"{height}x{width}x{channels}"
    style.headline(figure, f"{shortened(name)}: {count} filters of {size}{mean}")
    return figure


def filter_sheet(kernel: np.ndarray, *, shared: bool) -> tiles.Sheet:
    """Returns all filters as one picture; for the colours see `draw_filters`.

    Args:
      kernel: [h, w, C, F].
      shared: one scale for all filters.
    """
    filters = np.moveaxis(np.asarray(kernel, np.float64), -1, 0)
    return tiles.sheet(
        tiles.enlarged(_pictures(filters, shared=shared), 48), _columns(len(filters))
    )


def _columns(count: int) -> int:
    return min(COLUMNS, int(np.ceil(np.sqrt(count * 1.5))))


def _pictures(filters: np.ndarray, *, shared: bool) -> np.ndarray:
    if filters.shape[-1] == 3:
        return tiles.as_pictures(filters, shared=shared)
    grey = filters.mean(-1)
    reach = np.max(np.abs(grey), axis=None if shared else (1, 2), keepdims=True, initial=0)
    return style.colored(grey / np.where(reach > 0, reach, 1), signed=True)
