"""The parts of images that excite a map most, beside what deconvolution shows of them.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013: figure 2 (patches
of a data set and their projections) and figure 4 (a map's strongest projection during training).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style, tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 3  # patches of a map, in rows and columns
BLOCKS = 3  # maps of a row of the figure
CLIPPED = 0.005  # of a projection's values, beyond the scale: a few are much larger than others
NOTHING = 128  # grey of a projection outside the image


class MapPatches(NamedTuple):
    """What excites one map most.

    Attributes:
      channel: the map's number.
      patches: uint8 [n, h, w, C], of n images, the strongest first.
      projections: float [n, h, w, C], of deconvolution, cut as the patches are.
      values: [n], of the map's units there.
    """

    channel: int
    patches: np.ndarray
    projections: np.ndarray
    values: np.ndarray


def draw_patches(maps: Sequence[MapPatches], title: str = "") -> "Figure":
    """Draws nine patches and their nine projections for each map, side by side.

    The projections of a map have one scale, beyond which half a percent of their values lie; zero
    is middle grey.

    Args:
      maps: at least one.
      title: of the figure; names of strangers are made harmless here.
    """
    columns = min(BLOCKS, len(maps))
    rows = -(-len(maps) // columns)
    figure = style.new_figure(2.9 * columns, 1.62 * rows + 0.4)
    panels = style.new_axes(figure, rows, columns, grid=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, one in zip(panels.flat, maps, strict=False):
        tiles.show_sheet(axes, _block(one))
        least, greatest = one.values.min(), one.values.max()
        style.describe(axes, f"map {one.channel}: {least:.3g} to {greatest:.3g}")
    style.headline(figure, title)
    return figure


def _block(one: MapPatches) -> tiles.Sheet:
    """Returns the patches of a map, and right of them its projections."""
    missing = [(0, ACROSS**2 - len(one.patches)), *[(0, 0)] * 3]
    patches = np.pad(tiles.as_rgb(one.patches), missing, constant_values=255)
    projections = np.pad(tiles.as_pictures(one.projections, shared=True, clipped=CLIPPED), missing)
    projections[len(one.projections) :] = 255
    side = -(-tiles.SIDE // ACROSS) * 2
    left, right = (
        tiles.sheet(tiles.enlarged(each, side), ACROSS).pixels for each in (patches, projections)
    )
    between = np.full((len(left), len(left) // 12, 3), 255, np.uint8)
    pixels = np.concatenate([left, between, right], axis=1)
    return tiles.Sheet(pixels, np.zeros((1, 2), int), pixels.shape[:2])


def draw_evolution(
    steps: Sequence[int],
    maps: Mapping[int, Sequence[np.ndarray]],
    values: Mapping[int, Sequence[float]],
    title: str = "",
) -> "Figure":
    """Draws the strongest projection of each map after chosen steps of a run.

    A row is a map, a column a step. Each projection has a scale of its own, since all grow in the
    course of a run; the activation stands on its corner.

    Args:
      steps: ascending.
      maps: by channel: a projection, float [H, W, C], for each step. All of one map have one size.
      values: by channel: the activation of the unit that is projected, for each step.
      title: of the figure; names of strangers are made harmless here.
    """
    figure = style.new_figure(max(0.8 * len(steps) + 1, 3), 0.8 * len(maps) + 0.9)
    panels = style.new_axes(figure, len(maps), len(steps), grid=False)
    for row, (channel, projections) in zip(panels, maps.items(), strict=True):
        pictures = tiles.enlarged(tiles.as_pictures(np.stack(projections), clipped=CLIPPED))
        for axes, picture, value in zip(row, pictures, values[channel], strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            words = {"fontsize": tiles.SMALL, "color": style.INK, "transform": axes.transAxes}
            axes.text(0, 1.01, f"{value:.3g}", va="bottom", ha="left", **words)
        style.describe(row[0], y=f"map {channel}")
    for axes, step in zip(panels[-1], steps, strict=True):
        style.describe(axes, x=f"step {step:,}")
    style.headline(figure, title)
    return figure
