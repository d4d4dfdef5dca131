"""Pictures of receptive fields: the theoretical one around the gradient that is really there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.analysis.effective_field import EffectiveField
from jaxcnn.figures import style
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
THEORETICAL, EFFECTIVE = style.PALETTE[1], "#FFFFFF"


def draw_fields(fields: Sequence[EffectiveField], title: str = "") -> "Figure":
    """Draws the gradient of the middle unit of layers, and the sizes of both fields by layer.

    Colours are linear, each panel up to its own largest value.

    Args:
      fields: one or more, in the order of the layers.
      title: of the figure.
    """
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // columns)
    side = 1.9
    figure = style.new_figure(max(side * columns, 4.6), side * 1.15 * rows + 2.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(side * 1.15 * rows, 2.3))
    upper, lower = parts
    panels = style.new_axes(upper, rows, columns, grid=False)
    for axes in panels.flat[len(fields) :]:
        axes.set_axis_off()
    for axes, field in zip(panels.flat, fields, strict=False):
        _draw_gradient(axes, field)
    axes = style.new_axes(lower)[0, 0]
    _draw_sizes(axes, fields)
    if title:
        style.headline(figure, title)
    return figure


def _draw_gradient(axes: "Axes", field: EffectiveField) -> None:
    style.show(axes, field.gradient, limits=(0, float(field.gradient.max()) or 1.0))
    top, left, bottom, right = field.box
    _rectangle(axes, top, left, bottom, right, color=THEORETICAL, linestyle="--")
    row, column, half = (top + bottom) / 2, (left + right) / 2, field.size / 2
    _rectangle(axes, row - half, column - half, row + half, column + half, color=EFFECTIVE)
    height, width = field.gradient.shape
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    theoretical = f"{bottom - top}x{right - left}" if bottom - top != right - left else bottom - top
    sizes = f"95 % in {field.size} of {theoretical} pixels"
    style.describe(axes, f"{label(field.layer, 26)}\n{sizes}")


def _rectangle(
    axes: "Axes", top: float, left: float, bottom: float, right: float, **line: Any
) -> None:
    from matplotlib.patches import Rectangle

    place = (left - 0.5, top - 0.5)  # a pixel's middle is its whole number
    axes.add_patch(Rectangle(place, right - left, bottom - top, fill=False, linewidth=1.2, **line))


def _draw_sizes(axes: "Axes", fields: Sequence[EffectiveField]) -> None:
    places = np.arange(1, len(fields) + 1)
    longer = [max(one.box[2] - one.box[0], one.box[3] - one.box[1]) for one in fields]
    lines = (
        ("theoretical", longer, "--", style.PALETTE[1]),
        ("square with 95 % of the gradient", [one.size for one in fields], "-", style.PALETTE[0]),
        ("root of the area above 4.55 %", [one.above for one in fields], "-", style.PALETTE[2]),
    )
    for name, values, dashes, color in lines:
        axes.plot(
            places, values, dashes, color=color, marker="o", markersize=3, linewidth=1.2, label=name
        )
    smaller = max(fields[0].gradient.shape)
    axes.axhline(smaller, color=style.GREY, linewidth=0.8, label="side of the image")
    axes.set_ylim(0, None)
    axes.set_xlim(0.7, len(fields) + 0.3)
    names = [label(one.layer, 24) for one in fields]
    axes.set_xticks(places, names, rotation=25, ha="right", rotation_mode="anchor", fontsize=7)
    style.describe(axes, y="side, pixels")
    style.legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
