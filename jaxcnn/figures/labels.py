"""Names of strangers in figures and tables: shown, not obeyed, and not too long."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from jaxcnn.errors import printable

LONGEST = 32  # characters of a name in a figure


def label(text: object, longest: int = LONGEST) -> str:
    r"""Returns a text for matplotlib: one line, no formula between dollar signs, shortened.

    Args:
      text: any; control characters become escapes such as \x1b.
      longest: maximum number of characters; a longer name loses its middle.
    """
    return shortened(text, longest).replace("$", r"\$")


def shortened(text: object, longest: int = LONGEST) -> str:
    """Returns a text in one line; if it is too long it loses its middle."""
    line = printable(text)
    if len(line) <= longest:
        return line
    end = longest // 3
    return f"{line[: longest - end - 1]}…{line[-end:]}"


def cell(text: object) -> str:
    """Returns a text for a cell of a Markdown table."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|")


@contextlib.contextmanager
def quiet_fonts() -> Iterator[None]:
    """Keeps matplotlib from warning of each character that its font does not have; it draws a box.

    The tables beside a figure have such names whole.
    """
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing")
            warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
            yield
    finally:
        logger.setLevel(level)
