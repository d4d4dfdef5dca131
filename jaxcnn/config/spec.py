"""Declares config fields: each once, in the `fields.py` of its folder or beside an augmentation.

A section is a frozen dataclass. `field` makes its fields with default, one line of documentation,
and check. `config.schema` combines the sections.

A check takes a value and returns "", or the allowed values as the end of an error message.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from jaxcnn.errors import UserError, nearest

Check = Callable[[Any], str]
LARGEST_SIDE = 4096  # pixels


def field(default: Any, doc: str, check: Check) -> Any:
    """Returns a field of a section.

    Args:
      default: value if no data set, recipe or flag sets the field.
      doc: meaning, unit and special values.
      check: check of its values.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "check": check})


class Section:
    """Base class of sections; checks all values when a section is created."""

    def __post_init__(self) -> None:
        """Raises `UserError` for the first value that is not valid."""
        section: Any = self
        for one in dataclasses.fields(section):
            check = one.metadata.get("check")
            if wanted := check and check(getattr(section, one.name)):
                raise UserError(f"{one.name}={shown(getattr(section, one.name))} is not {wanted}")


def shown(value: Any) -> str:
    """Returns a value as text for a message, shortened if necessary."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}…"


def whole(least: int, most: int) -> Check:
    """Returns a check for integers from `least` to `most`."""

    def check(value: Any) -> str:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if fits else f"a whole number from {least:,} to {most:,}"

    return check


def real(least: float, most: float, *, above: bool = False, below: bool = False) -> Check:
    """Returns a check for finite numbers from `least` to `most`.

    Args:
      least: smallest value.
      most: largest value.
      above: whether to exclude `least`.
      below: whether to exclude `most`.
    """
    low, high = (
        f"{'above' if above else 'from'} {least:g}",
        f"{'below' if below else 'to'} {most:g}",
    )

    def check(value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        outside = [least] * above + [most] * below
        fits = number and least <= value <= most and value not in outside  # false for NaN
        return "" if fits else f"a number {low} {high}"

    return check


def choice(*names: str) -> Check:
    """Returns a check for one of several names."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"one of {', '.join(names)}"
        return "" if value in names else f"possible: {nearest(value, names)}"

    return check


def several(check_one: Check, *, least: int = 0, most: int = 1000) -> Check:
    """Returns a check for sequences of `least` to `most` values."""

    def check(value: Any) -> str:
        count = f"{least}" if least == most else f"{least} or more" if least else "any number"
        if not isinstance(value, tuple | list) or not least <= len(value) <= most:
            return f"a tuple of {count}"
        problem = next(filter(None, map(check_one, value)), "")
        return problem and f"a tuple, each value of it {problem}"

    return check


def text(value: Any) -> str:
    """Checks that a value is one line of text."""
    return "" if isinstance(value, str) and value.isprintable() else "a text of one line"


def name(value: Any) -> str:
    """Checks that a value is a non-empty text."""
    return "" if value and not text(value) else "a name"


def flag(value: Any) -> str:
    """Checks that a value is True or False."""
    return "" if isinstance(value, bool) else "True or False"


def pattern(value: Any) -> str:
    """Checks that a value is a regular expression."""
    try:
        re.compile(value)
    except (TypeError, re.error) as error:
        return f"a regular expression ({error})"
    return ""


side, side_or_none = whole(1, LARGEST_SIDE), whole(0, LARGEST_SIDE)
share, count, decay = real(0, 1), whole(0, 10**9), real(0, 1, below=True)
strength, positive = real(0, 100), real(0, 1e6, above=True)
patterns = several(pattern)
