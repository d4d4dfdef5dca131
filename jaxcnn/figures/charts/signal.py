"""Pictures of what flows through a network: activations, gradients, residual branches, dropout."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.analysis.ensemble import Convergence
from jaxcnn.analysis.residual import Sizes
from jaxcnn.analysis.signal import DeadShare
from jaxcnn.analysis.variance import Prediction
from jaxcnn.figures import style
from jaxcnn.figures.labels import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 24  # layers that still have room for their names below an axis
WIDTH = 7.0  # inches
PLAIN = 300  # largest ratio of numbers on a logarithmic axis that are not written as powers of ten


def draw_flow(series: Mapping[str, Mapping[str, Prediction]], title: str = "") -> "Figure":
    """Draws the size of outputs and of gradients by layer, measured and predicted.

    Args:
      series: by name of a network, an initialisation or a step: predictions of the output of its
        layers, and of the gradient with respect to their input. The layers are the same in all.
      title: of the figure.
    """
    layers = list(next(iter(series.values())))
    figure = style.new_figure(WIDTH, 5.6 if len(layers) <= NAMED else 4.6)
    upper, lower = style.new_axes(figure, 2, 1, sharex=True)[:, 0]
    for number, (name, found) in enumerate(series.items()):
        color = _color(number, len(series))
        rows = [
            (one.rms, one.measured.rms, one.gradient_rms, one.measured.gradient_rms)
            for one in found.values()
        ]
        columns = np.array(rows, np.float64).T
        _compare(upper, columns[0], columns[1], label(name), color)
        _compare(lower, columns[2], columns[3], "", color)
    for axes in (upper, lower):
        _log_if_positive(axes)
    style.describe(upper, "outputs", y="root mean square")
    style.describe(lower, "gradients of the loss with respect to the inputs", y="root mean square")
    _name_layers(lower, layers)
    _explain_marks(figure, upper.get_legend_handles_labels()[0] if len(series) > 1 else [])
    if title:
        style.headline(figure, title)
    return figure


def _compare(
    axes: "Axes", predicted: np.ndarray, measured: np.ndarray, name: str, color: Any
) -> None:
    places = np.arange(1, len(measured) + 1)
    axes.plot(places, predicted, color=color, linewidth=1.0, alpha=0.8)
    marks: dict[str, Any] = {"marker": "o", "markersize": 3, "linestyle": "none"}
    axes.plot(places, measured, color=color, label=name, **marks)


def _explain_marks(figure: "Figure", handles: Sequence[Any]) -> None:
    from matplotlib.lines import Line2D

    marks: dict[str, Any] = {"marker": "o", "markersize": 3, "linestyle": "none"}
    meaning = [
        Line2D([], [], color=style.GREY, label="measured", **marks),
        Line2D([], [], color=style.GREY, linewidth=1.0, label="predicted from the weights"),
    ]
    every = [*meaning, *handles]
    longest = max(len(str(one.get_label())) for one in every) + 6  # with the mark
    fitting = int(figure.get_figwidth() * 72 / (style.WIDTH_OF_A_LETTER * style.FONT * longest))
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": min(max(fitting, 1), 5)}
    figure.legend(handles=every, frameon=False, fontsize=style.FONT, **place)


def draw_by_layer(series: Mapping[str, Mapping[str, Any]], title: str, y: str) -> "Figure":
    """Draws one number of each layer, a line for each name, on a logarithmic axis.

    Args:
      series: numbers by name and layer; the layers are the same for all names. Zeros are left out.
      title: of the figure.
      y: what the numbers are, with their unit.
    """
    layers = list(next(iter(series.values())))
    figure = style.new_figure(WIDTH, 3.6 if len(layers) <= NAMED else 2.8)
    axes = style.new_axes(figure)[0, 0]
    for number, (name, found) in enumerate(series.items()):
        values = np.array([float(value) for value in found.values()])
        shown = np.where(values > 0, values, np.nan)
        line = style.line_style(number) | {"color": _color(number, len(series))}
        axes.plot(np.arange(1, len(layers) + 1), shown, marker="o", markersize=2.5, **line)
        axes.lines[-1].set_label(label(name))
    _log_if_positive(axes)
    style.headline(figure, title)
    style.describe(axes, y=y)
    _name_layers(axes, layers)
    style.legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_dead_units(shares: Mapping[str, DeadShare], images: int, title: str = "") -> "Figure":
    """Draws the share of units and of whole channels of each ReLU that are never positive.

    Args:
      shares: by layer.
      images: over how many images.
      title: of the figure.
    """
    figure = style.new_figure(WIDTH, 3.4 if len(shares) <= NAMED else 2.6)
    axes = style.new_axes(figure)[0, 0]
    places = np.arange(1, len(shares) + 1)
    for number, (field, name) in enumerate(
        (("units", "units"), ("channels", "channels, at no position"))
    ):
        values = [100 * getattr(share, field) for share in shares.values()]
        shift = (number - 0.5) * 0.4
        axes.bar(places + shift, values, width=0.4, color=style.PALETTE[number], label=name)
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    of = f"never positive for {images:,} image{'s' * (images != 1)}"
    style.headline(figure, title)
    style.describe(axes, y=f"{of}, %")
    _name_layers(axes, list(shares))
    style.legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_branches(sizes: Mapping[str, Sizes], title: str = "") -> "Figure":
    """Draws the size of F(x), x and their sum in each residual unit, and F(x) by x.

    Args:
      sizes: by the name of the sum.
      title: of the figure.
    """
    figure = style.new_figure(WIDTH, 5.2 if len(sizes) <= NAMED else 4.2)
    upper, lower = style.new_axes(figure, 2, 1, sharex=True, height_ratios=(3, 2))[:, 0]
    places = np.arange(1, len(sizes) + 1)
    rows = np.array([[float(value) for value in one] for one in sizes.values()])
    names = ("branch F(x)", "shortcut x", "sum x + F(x)")
    for number, name in enumerate(names):
        line = style.line_style(number)
        upper.plot(places, rows[:, number], marker="o", markersize=2.5, label=name, **line)
    ratio = np.divide(rows[:, 0], rows[:, 1], out=np.full(len(rows), np.nan), where=rows[:, 1] > 0)
    lower.plot(places, ratio, marker="o", markersize=2.5, **style.line_style(0))
    lower.axhline(1, color=style.GREY, linewidth=0.8)
    for axes in (upper, lower):
        _log_if_positive(axes)
    style.describe(upper, y="root mean square")
    style.describe(lower, y="F(x) by x")
    units = [name.rpartition("/")[0] or name for name in sizes]
    _name_layers(lower, units, "residual unit, from the image")
    style.legend(upper, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if title:
        style.headline(figure, title)
    return figure


def draw_reuse(reuse: Mapping[str, Mapping[str, Any]], title: str = "") -> "Figure":
    """Draws the mean weight from each source to each layer, one panel for each dense block.

    Colours are relative to the largest mean of a layer, as in figure 5 of the DenseNet paper.

    Args:
      reuse: of `residual.feature_reuse`.
      title: of the figure.
    """
    blocks = _blocks(reuse)
    figure = style.new_figure(WIDTH, 1.2 + 0.6 * WIDTH / max(len(blocks), 2))
    panels = style.new_axes(figure, 1, len(blocks), grid=False)[0]
    shown: Any = None
    for axes, rows in zip(panels, blocks, strict=True):
        sources = max((list(row) for row in rows.values()), key=len)
        table = np.full((len(sources), len(rows)), np.nan)
        for column, row in enumerate(rows.values()):
            largest = max(float(value) for value in row.values()) or 1.0
            for source, value in row.items():
                table[sources.index(source), column] = float(value) / largest
        shown = style.show(axes, table, limits=(0, 1))
        axes.set_axis_on()
        places, names = _some([_short(name) for name in rows])
        axes.set_xticks(places, names, rotation=90, fontsize=6)
        places, names = _some([_short(name) for name in sources])
        axes.set_yticks(places, names, fontsize=6)
        style.describe(axes, x="layer", y="takes from")
    bar = figure.colorbar(shown, ax=list(panels), shrink=0.7)
    bar.set_label("mean |weight|\n(largest of a layer: 1)", fontsize=style.FONT)
    bar.ax.tick_params(labelsize=style.FONT)
    style.headline(figure, title)
    return figure


def _blocks(reuse: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """Returns the layers in blocks: those that take from a common first source."""
    blocks: dict[str, dict[str, Mapping[str, Any]]] = {}
    for layer, row in reuse.items():
        blocks.setdefault(next(iter(row)), {})[layer] = row
    return list(blocks.values())


def _short(name: str) -> str:
    """Returns the part of a layer's name that tells it from the others of a dense block."""
    parts = name.split("/")
    return label(parts[-2] if len(parts) > 2 else parts[0], 14)


def _some(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Returns places and names for an axis, not more than fit."""
    step = -(-len(names) // 16)
    places = [*range(0, len(names) - 1, step), len(names) - 1]
    return places, [names[place] for place in places]


def draw_ensemble(found: Convergence, title: str = "") -> "Figure":
    """Draws how the means over sampled sub-networks come near the scaled network.

    Args:
      found: of `ensemble.convergence`; with labels the errors get a panel of their own.
      title: of the figure.
    """
    from matplotlib.ticker import NullLocator

    with_errors = bool(np.isfinite(found.scaled_error))
    figure = style.new_figure(WIDTH if with_errors else 4.6, 3.0)
    panels = style.new_axes(figure, 1, 1 + with_errors)[0]
    means = (("arithmetic mean", found.arithmetic), ("geometric mean", found.geometric))
    for number, (name, values) in enumerate(means):
        line = style.line_style(number)
        panels[0].plot(found.members, values, marker="o", markersize=2.5, label=name, **line)
    x = "sampled sub-networks"
    y = "distance to the scaled network\n(total variation, mean over images)"
    style.describe(panels[0], "probabilities", x=x, y=y)
    _log_if_positive(panels[0])
    if with_errors:
        line = style.line_style(0)
        values = 100 * found.error
        panels[1].plot(
            found.members, values, marker="o", markersize=2.5, label="arithmetic mean", **line
        )
        scaled = 100 * found.scaled_error
        panels[1].axhline(scaled, color=style.INK, linewidth=0.8, label="scaled network")
        style.describe(panels[1], "errors", x=x, y="misclassified images, %")
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xticks(found.members, [str(k) for k in found.members])
        axes.xaxis.set_minor_locator(NullLocator())
        style.legend(axes)
    if title:
        style.headline(figure, title)
    return figure


def _color(number: int, count: int) -> Any:
    """Returns a colour of the palette, or of the sequential colours for a long series."""
    if count <= len(style.PALETTE):
        return style.PALETTE[number]
    from matplotlib import colormaps

    return colormaps[style.SEQUENTIAL](0.9 * number / (count - 1))


def _log_if_positive(axes: "Axes") -> None:
    """Sets a logarithmic axis if anything can be shown on it, with plain numbers if it is short."""
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
    shown = values[np.isfinite(values) & (values > 0)]
    if not len(shown):
        return
    axes.set_yscale("log")
    if shown.max() < PLAIN * shown.min():
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))


def _name_layers(axes: "Axes", layers: Sequence[str], what: str = "layer, from the image") -> None:
    """Writes the names of layers below an axis, or their numbers if there are many."""
    axes.set_xlim(0.4, len(layers) + 0.6)
    if len(layers) > NAMED:
        axes.set_xlabel(what, fontsize=style.FONT, color=style.INK)
        return
    places = np.arange(1, len(layers) + 1)
    names = [label(name, 28) for name in layers]
    axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=7)
