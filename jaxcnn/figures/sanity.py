"""How similar attribution maps stay while the network's parameters become random from the top."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcnn.figures import style
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = ("rank correlation", "SSIM")


class Panel(NamedTuple):
    """One network; see `jaxcnn.attribution.sanity.Sanity`.

    Attributes:
      network: its name.
      methods: M names.
      layers: L names from the top.
      rank_correlation: means over images, float [M, L].
      ssim: means over images, float [M, L].
      failing: names of methods.
    """

    network: str
    methods: Sequence[str]
    layers: Sequence[str]
    rank_correlation: np.ndarray
    ssim: np.ndarray
    failing: Sequence[str]


def draw_sanity(panels: Sequence[Panel]) -> "Figure":
    """Draws a column for each network: the similarities of all methods, layer by layer.

    Values below 0 have the colour of 0. Methods that fail have a star.

    Args:
      panels: at least one.
    """
    widths = [len(panel.layers) for panel in panels]
    tall = max(len(panel.methods) for panel in panels)
    figure = style.new_figure(1.9 + 0.21 * sum(widths) + 0.6 * len(panels), 1.6 + 0.36 * tall)
    axes = style.new_axes(figure, 2, len(panels), grid=False, width_ratios=widths)
    for column, panel in enumerate(panels):
        tables = panel.rank_correlation, panel.ssim
        for row, (table, measure) in enumerate(zip(tables, MEASURES, strict=True)):
            _draw(axes[row, column], panel, table, row == len(tables) - 1)
            style.describe(axes[row, column], f"{label(panel.network, 20)}: {measure}")
    shown = axes[0, 0].images[0]
    bar = figure.colorbar(shown, ax=list(axes[:, -1]), shrink=0.5, pad=0.02)
    bar.ax.tick_params(labelsize=style.FONT)
    bar.set_label("similarity to the map\nof the trained network", fontsize=style.FONT)
    bar.outline.set_visible(False)
    style.headline(figure, "Maps while parameters become random, from the top layer down")
    return figure


def _draw(axes: "Axes", panel: Panel, table: np.ndarray, named: bool) -> None:
    """Draws similarities [M, L] as colours; the layers are named under the lower row only."""
    axes.imshow(
        np.clip(table, 0, 1),
        cmap=style.SEQUENTIAL,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    stars = [" *" * (name in panel.failing) for name in panel.methods]
    names = [label(name) + star for name, star in zip(panel.methods, stars, strict=True)]
    axes.set_yticks(range(len(names)), names)
    layers = [label(name) for name in panel.layers] if named else []
    axes.set_xticks(range(len(layers)), layers, rotation=90)
