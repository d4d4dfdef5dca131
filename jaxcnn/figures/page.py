"""One static page of texts, tables and figures, which a browser shows from a file.

A page needs no network and no script: style and pictures are inside it. It follows the reader's
choice of light or dark. All texts are escaped; `Markup` is HTML or SVG of our own, which is not.
"""

import base64
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from jaxcnn.errors import UserError, printable
from jaxcnn.figures import style

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

MISSING = "a report needs jinja2 and matplotlib: pip install 'jaxcnn[plots]'"
# Colours of `figures.style` and the variables of page.css that take their place.
GRID, WHITE = "#b0b0b0", "#ffffff"
VARIABLES = {
    style.INK: "--ink",
    style.GREY: "--muted",
    GRID: "--line",
    WHITE: "--page",
    **{color: f"--c{number}" for number, color in enumerate(style.PALETTE)},
}
LARGEST_PNG = 24_000  # bytes
NO_BREAK = "\u00a0"  # a space at which no line ends
LARGEST_SIDE = 512  # pixels of a picture in a page; larger ones are made smaller


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    warning: bool = False
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names and values, one a line."""

    rows: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The most important numbers: (name, value, remark)."""

    items: Sequence[tuple[str, str, str]]
    kind: ClassVar[str] = "tiles"


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
      text: what it says.
      heat: a share from 0 to 1 that its background shows.
      interval: low end, mean and high end, each from 0 to 1, drawn before the text.
      title: shown while the pointer is above it.
    """

    text: str
    heat: float | None = None
    interval: tuple[float, float, float] | None = None
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
      head: names of the columns.
      rows: cells; a text is a cell, too.
      align: "l" or "r" for each column; by default the first is "l" and all others are "r".
      caption: says what it is.
      square: narrow columns with names from bottom to top.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    align: str = ""
    caption: str = ""
    square: bool = False
    kind: ClassVar[str] = "table"


class Drawing(NamedTuple):
    """A figure, as SVG or an image of our own, and its caption."""

    markup: "Markup"
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures beside one another, or each as wide as the page."""

    items: Sequence[Drawing]
    wide: bool = False
    kind: ClassVar[str] = "figures"


class Picture(NamedTuple):
    """Pixels, uint8 [H, W, 1 or 3], shown without smoothing, and what they are."""

    pixels: np.ndarray
    caption: str

    @property
    def source(self) -> str:
        """Returns the picture as the address of an image inside the page."""
        return data_uri(encoded(self.pixels))


class Card(NamedTuple):
    """Pictures of one thing, and lines about it.

    Attributes:
      pictures: beside one another.
      lines: each of several parts, so that a name in another script turns no other part.
    """

    pictures: Sequence[Picture]
    lines: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Cards:
    """Cards beside one another."""

    items: Sequence[Card]
    kind: ClassVar[str] = "cards"


@dataclasses.dataclass(frozen=True)
class Html:
    """HTML or SVG of our own."""

    markup: "Markup"
    kind: ClassVar[str] = "markup"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Blocks below a title that opens and closes them."""

    title: str
    blocks: Sequence["Block"]
    open: bool = False
    kind: ClassVar[str] = "fold"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of blocks, beside one another where the page is wide enough."""

    items: Sequence[Sequence["Block"]]
    kind: ClassVar[str] = "columns"


Block = Text | Facts | Tiles | Table | Figures | Cards | Html | Fold | Columns


class Section(NamedTuple):
    """A part of the page with a title of its own."""

    title: str
    blocks: Sequence[Block]


class Page(NamedTuple):
    """The whole: title, a line below it, sections, and a line at the end."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = ""


def render(page: Page) -> str:
    """Returns a page as HTML.

    Raises:
      UserError: if jinja2 is missing.
    """
    check_installed()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxcnn.figures"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    css = trusted(environment.loader.get_source(environment, "page.css")[0])  # type: ignore[union-attr]
    numbers = itertools.count(1)
    whole = page._replace(
        sections=[
            section._replace(blocks=[_complete(block, numbers) for block in section.blocks])
            for section in page.sections
        ]
    )
    return environment.get_template("page.html").render(page=whole, style=css)


def check_installed() -> None:
    """Raises an error unless the packages that pages need are installed.

    Raises:
      UserError: naming them.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise UserError(MISSING) from None
    if not style.available():
        raise UserError(MISSING)


def trusted(text: str) -> "Markup":
    """Returns HTML or SVG of our own as it is: nothing in it is escaped any more."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def inline(figure: "Figure", description: str) -> "Markup":
    """Returns a figure as SVG for a page, whose colours and font it takes.

    Its texts stay texts. Colours of `figures.style` become those of the page, which differ in light
    and dark; others stay.

    Args:
      figure: of `style.new_figure`.
      description: for readers who do not see it.
    """
    from markupsafe import escape
    from matplotlib import rc_context

    from jaxcnn.figures.labels import quiet_fonts

    file = io.BytesIO()
    with quiet_fonts(), rc_context({"svg.hashsalt": "jaxcnn", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue().decode("utf-8")
    left_out = r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>"
    text = re.sub(left_out, "", text[text.index("<svg") :], flags=re.DOTALL)
    head, rest = text[: text.index(">") + 1], text[text.index(">") + 1 :]
    box = re.search(r'viewBox="[\d. -]+"', head)
    named = f'<svg {box[0] if box else ""} role="img" aria-label="{escape(description)}">'
    return trusted(named + _of_page(rest).strip())


def diagram(svg: str) -> "Markup":
    """Returns SVG of our own with the colours and the font of the page; see `inline`."""
    return trusted(_of_page(re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)))


def _of_page(svg: str) -> str:
    """Returns SVG with the colours and the font of the page, and with those names that are used."""
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))

    def tag(found: re.Match[str]) -> str:
        """Changes what is between < and >, where no text of the figure is."""
        text = found[0].replace("xlink:href=", "href=")
        text = re.sub(r' ?font-family:[^;"]*;?| font-family="[^"]*"| xmlns\S*="[^"]*"', "", text)
        for color, variable in VARIABLES.items():
            text = re.sub(rf"{color}\b", f"var({variable})", text, flags=re.IGNORECASE)
        name = re.search(r' id="([^"]+)"', text)
        return text.replace(name[0], "") if name and name[1] not in used else text

    return re.sub(r"<[^>]+>", tag, svg)


def _with_own_names(markup: "Markup", number: int) -> "Markup":
    """Returns HTML or SVG whose names begin with a number, as two figures may have the same."""

    def tag(found: re.Match[str]) -> str:
        return re.sub(r'( id="|url\(#|href="#)', rf"\1f{number}-", found[0])

    return trusted(re.sub(r"<[^>]+>", tag, markup))


def drawn(figure: "Figure", description: str) -> "Markup":
    """Returns a figure as a picture for a page: for figures of very many parts."""
    from markupsafe import escape

    source = data_uri(style.encode(figure))
    return trusted(f'<img src="{source}" alt="{escape(description)}">')


def encoded(pixels: np.ndarray) -> bytes:
    """Returns pixels, uint8 [H, W, 1 or 3], as an image file of at most 512 x 512.

    It is PNG, or JPEG where PNG takes more than 24 KB, as for photographs.
    """
    import PIL.Image

    image = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(image.size) > LARGEST_SIDE:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    if len(file.getvalue()) > LARGEST_PNG:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
    return file.getvalue()


def data_uri(file: bytes) -> str:
    """Returns a PNG or JPEG file as an address that needs no request."""
    kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(file).decode("ascii")


def _complete(block: Block, numbers: Iterator[int]) -> Block:
    """Returns a block whose tables have cells only, and an alignment for each column.

    Args:
      block: any.
      numbers: for the names within figures.
    """
    if isinstance(block, Fold):
        return dataclasses.replace(block, blocks=[_complete(one, numbers) for one in block.blocks])
    if isinstance(block, Columns):
        items = [[_complete(one, numbers) for one in column] for column in block.items]
        return dataclasses.replace(block, items=items)
    if isinstance(block, Html):
        return Html(_with_own_names(block.markup, next(numbers)))
    if isinstance(block, Figures):
        drawings = [
            one._replace(markup=_with_own_names(one.markup, next(numbers))) for one in block.items
        ]
        return dataclasses.replace(block, items=drawings)
    if isinstance(block, Table):
        rows = [[Cell(one) if isinstance(one, str) else one for one in row] for row in block.rows]
        align = block.align or "l" + "r" * max(len(block.head) - 1, 0)
        return dataclasses.replace(block, rows=rows, align=align)
    return block


def _shown(value: object) -> object:
    """Returns what jinja prints: texts in one line, without control characters."""
    from markupsafe import Markup

    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return NO_BREAK.join(map(printable, value.split(NO_BREAK)))
