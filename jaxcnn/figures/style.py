"""The common style of all figures: size, colours, axes, and how a figure becomes a file.

Figures are made without pyplot, so matplotlib's global state does not change. Their background is
white and opaque, so they are readable on a dark page too. Lines have the colours of Okabe and Ito,
"Color Universal Design", 2008, which people with any colour vision tell apart; their yellow is left
out, since it is too weak on white.
"""

import importlib.util
import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.figures.labels import label, quiet_fonts
from jaxcnn.io.atomic import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")  # of lines beyond the seventh, and beyond the fourteenth
SEQUENTIAL = "viridis"  # of quantities from zero; perceptually uniform
DIVERGING = "RdBu_r"  # of quantities with a sign; white is zero
INK, GREY = "#222222", "#777777"  # of text and axes; of what is secondary
FONT = 8  # points
WIDTH_OF_A_LETTER = 0.65  # of its height, of most letters
DPI = 150  # of a PNG
KINDS = (".png", ".svg")


def available() -> bool:
    """Returns whether matplotlib is installed."""
    try:
        return importlib.util.find_spec("matplotlib.figure") is not None
    except (ImportError, ValueError):
        return False


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure whose layout keeps labels from overlapping.

    Its axes are those of `figure.subplots`, made plain by `plain`.

    Args:
      width: inches.
      height: inches.

    Raises:
      UserError: if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a figure needs matplotlib: pip install 'jaxcnn[plots]'") from None
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def new_axes(
    figure: "Figure", rows: int = 1, columns: int = 1, *, grid: bool = True, **layout: Any
) -> np.ndarray:
    """Returns plain axes in rows and columns, an object array [rows, columns].

    Args:
      figure: of `new_figure`.
      rows: at least 1.
      columns: at least 1.
      grid: faint lines at the ticks.
      **layout: for `Figure.subplots`, such as `sharex` or `width_ratios`.
    """
    axes: np.ndarray = figure.subplots(rows, columns, squeeze=False, **layout)
    for one in axes.flat:
        plain(one, grid=grid)
    return axes


def plain(axes: "Axes", *, grid: bool = True) -> None:
    """Gives axes the common style: no box, small text, a faint grid.

    Title and labels are set afterwards by `describe`.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(GREY)
    axes.tick_params(which="both", labelsize=FONT, color=GREY, labelcolor=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(alpha=0.3, linewidth=0.5)


def describe(axes: "Axes", title: str = "", x: str = "", y: str = "") -> None:
    """Sets the title and the labels of axes, in the common size.

    Args:
      axes: any.
      title: text; names of strangers go through `labels.label` first.
      x: what the horizontal axis counts, with its unit.
      y: what the vertical axis counts, with its unit.
    """
    style: dict[str, Any] = {"fontsize": FONT, "color": INK}
    if title:
        axes.set_title(title, **style)
    if x:
        axes.set_xlabel(x, **style)
    if y:
        axes.set_ylabel(y, **style)


def legend(axes: "Axes", **options: Any) -> None:
    """Adds a legend without a frame, of what was drawn with a `label`."""
    axes.legend(frameon=False, fontsize=FONT, labelcolor=INK, **options)


def headline(figure: "Figure", text: str) -> None:
    """Sets the title of a whole figure, each line of it in at most two that fit the width.

    Args:
      figure: of `new_figure`.
      text: lines; names of strangers are made harmless here.
    """
    points = FONT + 2
    longest = max(int(figure.get_figwidth() * 72 / (WIDTH_OF_A_LETTER * points)) - 1, 8)
    whole_words: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    lines = [
        label(part, longest)
        for line in text.split("\n")
        for part in textwrap.wrap(line, longest, max_lines=2, placeholder=" …", **whole_words)
    ]
    if lines:
        figure.suptitle("\n".join(lines), fontsize=points, color=INK)


def line_style(number: int) -> dict[str, Any]:
    """Returns colour and dashes of line `number`, from 0, for `axes.plot`; 21 are different."""
    dashes = DASHES[number // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": dashes, "linewidth": 1.2}


def show(
    axes: "Axes",
    values: np.ndarray,
    *,
    signed: bool = False,
    limits: Sequence[float] | None = None,
) -> "AxesImage":
    """Shows a map or a picture without ticks; pixels stay pixels.

    Args:
      axes: any.
      values: [H, W] numbers, or a picture [H, W, 1 or 3], uint8 or 0 to 1.
      signed: numbers have a sign: the diverging colours, symmetric about zero.
      limits: of the colours; without, the range of the numbers, or their largest magnitude.

    Returns:
      What `figure.colorbar` takes.
    """
    axes.set_axis_off()
    if values.ndim == 3:
        picture = values if values.shape[-1] == 3 else np.repeat(values, 3, axis=-1)
        return axes.imshow(picture, interpolation="nearest")
    finite = values[np.isfinite(values)]
    if limits is None and signed:
        reach = float(np.max(np.abs(finite), initial=0)) or 1.0
        limits = (-reach, reach)
    elif limits is None:
        limits = (float(np.min(finite, initial=np.inf)), float(np.max(finite, initial=-np.inf)))
        limits = limits if len(finite) else (0.0, 1.0)
    colors = DIVERGING if signed else SEQUENTIAL
    return axes.imshow(values, cmap=colors, vmin=limits[0], vmax=limits[1], interpolation="nearest")


def colored(values: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """Returns numbers as a picture, uint8 [..., 3], in the sequential or the diverging colours.

    Args:
      values: [...], from 0 to 1, or from -1 to 1 if `signed`; beyond that they are clipped.
      signed: see `show`.

    Raises:
      UserError: if matplotlib is missing.
    """
    try:
        from matplotlib import colormaps
    except ImportError:
        raise UserError("a figure needs matplotlib: pip install 'jaxcnn[plots]'") from None
    shares = (np.asarray(values, np.float64) + 1) / 2 if signed else np.asarray(values, np.float64)
    colors = colormaps[DIVERGING if signed else SEQUENTIAL](np.clip(shares, 0, 1), bytes=True)
    return np.asarray(colors)[..., :3]


def encode(figure: "Figure", kind: str = ".png") -> bytes:
    """Returns a figure as the bytes of a file; the same bytes for the same figure.

    Args:
      figure: of `new_figure`.
      kind: ".png" or ".svg". Text in an SVG is drawn as curves, so it needs no font.
    """
    from matplotlib import rc_context

    file = io.BytesIO()
    fixed: dict[str, Any] = {"metadata": {"Date": None}} if kind == ".svg" else {"dpi": DPI}
    with quiet_fonts(), rc_context({"svg.hashsalt": "jaxcnn"}):
        figure.savefig(file, format=kind.removeprefix("."), **fixed)
    return _numbered(file.getvalue()) if kind == ".svg" else file.getvalue()


def _numbered(svg: bytes) -> bytes:
    """Returns an SVG whose clip paths and markers are named by numbers.

    Matplotlib names them by digests of coordinates, whose last digits differ between machines.
    """
    names = dict.fromkeys(re.findall(rb' id="([a-zA-Z][0-9a-f]{10})"', svg))
    numbers = {name: b"%c%d" % (name[0], n) for n, name in enumerate(names, 1)}
    return re.sub(
        rb'((?: id="|url\(#|href="#))([a-zA-Z][0-9a-f]{10})\b',
        lambda found: found[1] + numbers.get(found[2], found[2]),
        svg,
    )


def save(figure: "Figure", path: Path) -> None:
    """Writes a figure, whole or not at all.

    Args:
      figure: of `new_figure`.
      path: a file that ends with .png or .svg.

    Raises:
      UserError: for another ending, or if the file cannot be written.
    """
    check_kind(path)
    with whole_file(path) as file:
        file.write(encode(figure, path.suffix.lower()))


def check_kind(path: Path) -> None:
    """Raises an error unless a path ends as a figure does, before the work begins.

    Raises:
      UserError: naming the endings.
    """
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: a figure ends with {' or '.join(KINDS)}")
