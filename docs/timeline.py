"""Draws docs/networks/timeline.svg: published errors and cost of the networks, 1998 to 2017.

python docs/timeline.py

Single networks are those of jaxcnn/models/published.json, ensembles those of docs/gallery.toml.
"""

import hashlib
import runpy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.figures import style
from jaxcnn.models.published import networks, papers

FIGURE = Path(__file__).parent / "networks" / "timeline.svg"
GALLERY = runpy.run_path(str(Path(__file__).with_name("gallery.py")))
# Errors of weights that others trained are not the paper's.
NOT_OF_THE_PAPER = ("torchvision's weights", "released weights", "the author's weights")
PROTOCOLS = {"1 crop": "one crop", "10 crops": "ten crops", "dense": "dense, one larger scale"}
SMALL = {"CIFAR-10 test": "CIFAR-10", "MNIST test": "MNIST"}
LARGE_COST, SMALL_COST = "images of 224 to 299 pixels", "images of 28 or 32 pixels"
ENSEMBLE = "ensemble (contest entry, or beside one)"
FIRST, SECOND, THIRD = style.PALETTE[:3]
MARKS = {  # marker, colour
    "one crop": ("o", FIRST),
    "ten crops": ("^", SECOND),
    "dense, one larger scale": ("D", THIRD),
    ENSEMBLE: ("s", style.INK),
    "CIFAR-10": ("o", FIRST),
    "MNIST": ("^", SECOND),
    LARGE_COST: ("o", FIRST),
    SMALL_COST: ("^", SECOND),
}


class Point(NamedTuple):
    """A mark of the figure.

    Attributes:
      paper: key of `papers()`.
      value: error in percent, or multiply-adds.
      kind: what the legend says; see `MARKS`.
      name: of the network; "" of an ensemble.
    """

    paper: str
    value: float
    kind: str
    name: str = ""


def columns() -> list[tuple[str, str]]:
    """Returns paper and name of each column, in the order of the papers."""
    pages = GALLERY["pages"]().values()
    return [(own["papers"][0], own.get("short", own["title"])) for own in pages]


def imagenet() -> list[Point]:
    """Returns the least top-5 error of a single network of each paper, and the ensembles."""

    def protocol(row: dict[str, Any]) -> str:
        found = (
            text for start, text in PROTOCOLS.items() if row["crop_protocol"].startswith(start)
        )
        return next(found)

    single = _least("top5_err", "ImageNet-1k val", protocol)
    found = [Point(row["paper"], row["top5"], ENSEMBLE) for row in GALLERY["words"]()["ensembles"]]
    order = (*PROTOCOLS.values(), ENSEMBLE)
    return sorted([*single, *found], key=lambda point: order.index(point.kind))


def small_images() -> list[Point]:
    """Returns the least error of a network of each paper on CIFAR-10 and on MNIST."""
    kinds = [(dataset, lambda row: SMALL[row["dataset"]]) for dataset in SMALL]
    return [point for dataset, kind in kinds for point in _least("top1_err", dataset, kind)]


def costs() -> list[Point]:
    """Returns the multiply-adds of the networks with an error in the figure, and of each page's."""
    shown = {own["shown"] for own in GALLERY["pages"]().values()}
    shown |= {point.name for point in (*imagenet(), *small_images())}
    return [
        Point(row["paper"], row["macs"], kind, name)
        for kind in (LARGE_COST, SMALL_COST)
        for name, row in networks().items()
        if name in shown and (row["input_size"][0] > 32) == (kind == LARGE_COST)
    ]


def _least(field: str, dataset: str, kind: Callable[[dict[str, Any]], str]) -> Iterable[Point]:
    found: dict[str, Point] = {}
    for name, row in networks().items():
        error, paper = row[field], row["paper"]
        if row["dataset"] != dataset or error is None:
            continue
        if row["crop_protocol"].endswith(NOT_OF_THE_PAPER):
            continue
        if paper not in found or error < found[paper].value:
            found[paper] = Point(paper, error, kind(row), name)
    return found.values()


def digest() -> str:
    """Returns the SHA-256 of all that the figure shows."""
    shown = repr((columns(), imagenet(), small_images(), costs()))
    return hashlib.sha256(shown.encode()).hexdigest()


def draw() -> Any:
    """Returns the figure: errors on ImageNet, on small images, and the cost, above one another."""
    places = {paper: number for number, (paper, _) in enumerate(columns())}
    figure = style.new_figure(8.4, 7.2)
    heights = (3, 2.2, 2.2)
    large, small, cost = style.new_axes(figure, 3, 1, sharex=True, height_ratios=heights)[:, 0]
    _marks(large, imagenet(), places, ticks=(3, 5, 10, 15, 20))
    _marks(small, small_images(), places, ticks=(0.5, 1, 2, 5, 10, 20))
    _marks(cost, costs(), places)
    style.describe(large, "ImageNet: the best single network of each paper", y="top-5 error, %")
    style.describe(small, "Small images: the best network of each paper", y="test error, %")
    style.describe(cost, "Cost of one image", y="multiply-adds")
    for axes in (large, small, cost):
        style.legend(axes)
        _years(axes, [papers()[paper]["year"] for paper in places], named=axes is large)
    names = [name for _, name in columns()]
    cost.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    return figure


def _marks(
    axes: Any, points: Sequence[Point], places: dict[str, int], ticks: Sequence[float] = ()
) -> None:
    """Draws points on a logarithmic axis; those of an axis with ticks have their value beside."""
    axes.set_yscale("log")
    for kind in dict.fromkeys(point.kind for point in points):
        marker, color = MARKS[kind]
        own = [(places[point.paper], point.value) for point in points if point.kind == kind]
        filling = "none" if kind == ENSEMBLE else color
        options = {"markerfacecolor": filling, "color": color, "markersize": 5, "label": kind}
        axes.plot(*zip(*own, strict=True), marker, **options)
    if not ticks:
        return
    for point in points:
        where = (places[point.paper], point.value)
        text = {"fontsize": 6, "color": style.INK}
        axes.annotate(str(point.value), where, (5, -2), textcoords="offset points", **text)
    axes.set_yticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()


def _years(axes: Any, years: Sequence[int], named: bool) -> None:
    """Shades every other year, and names the years below the title."""
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(years) - 0.1)
    starts = [n for n, year in enumerate(years) if n == 0 or year != years[n - 1]]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(years)], strict=True)):
        if number % 2 == 0:
            axes.axvspan(start - 0.5, end - 0.5, color=style.GREY, alpha=0.1, linewidth=0)
        if named:
            where = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            text = {"fontsize": style.FONT - 1, "color": style.GREY}
            axes.text((start + end - 1) / 2, 1.01, str(years[start]), **where, **text)
    if named:
        axes.set_title(axes.get_title(), fontsize=style.FONT, color=style.INK, pad=14)


if __name__ == "__main__":
    svg = style.encode(draw(), ".svg").decode("utf-8")
    FIGURE.write_text(f"{svg}<!-- {digest()} -->\n", encoding="utf-8")
