"""Lengths of a run as texts in epochs or steps."""

import re
from fractions import Fraction
from typing import Any

from jaxcnn.errors import UserError

_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|steps?)\s*")


def length_in_steps(text: str, steps_per_epoch: Fraction) -> Fraction | None:
    """Parses a length such as "90 epochs" or "64000steps"; returns None for "never".

    Args:
      text: a number followed by "epochs" or "steps".
      steps_per_epoch: examples per epoch divided by examples per step; need not be whole.

    Returns:
      Exact length in steps, not always whole.

    Raises:
      UserError: if the text is not a length.
    """
    if text.strip() == "never":
        return None
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is not a length: write it as 8epochs, 1000steps or never")
    number = Fraction(match[1])
    return number * steps_per_epoch if match[2].startswith("epoch") else number


def length(value: Any) -> str:
    """Checks a length such as "8epochs"; see `config.spec`."""
    try:
        found = length_in_steps(value, Fraction(1))
    except (ValueError, TypeError, AttributeError):
        return "a length: write it as 8epochs, 1000steps or never"
    return "" if found is None or found < 2**31 else "a length below 2,147,483,648steps"


def some_length(value: Any) -> str:
    """Checks a length that is neither "never" nor zero; see `config.spec`."""
    wrong = length(value)
    return wrong or ("" if length_in_steps(value, Fraction(1)) else "positive, for example 8epochs")
