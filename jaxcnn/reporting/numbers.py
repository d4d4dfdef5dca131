"""Numbers as a page shows them."""

import math

from jaxcnn.evaluation.statistics import wilson
from jaxcnn.figures.page import NO_BREAK, Cell


def percent(share: float) -> str:
    """Returns "97.50 %", whose parts stay in one line."""
    return f"{100 * share:.2f}{NO_BREAK}%"


def span(low: float, high: float) -> str:
    """Returns "95.32 to 98.68 %" for shares."""
    return f"{100 * low:.2f} to {100 * high:.2f}{NO_BREAK}%"


def points(difference: float) -> str:
    """Returns "+1.25" for a difference of shares, in percentage points."""
    return f"{100 * difference:+.2f}"


def share(hits: int, count: int) -> str:
    """Returns "97.50 % (95.32 to 98.68 %)", with Wilson's interval."""
    return f"{percent(hits / count)} ({span(*wilson(hits, count))})" if count else "no examples"


def share_cell(hits: int, count: int) -> Cell:
    """Returns a share with its interval drawn before it."""
    if not count:
        return Cell("no examples")
    low, high = wilson(hits, count)
    return Cell(percent(hits / count), interval=(low, hits / count, high), title=span(low, high))


def size(number: float) -> str:
    """Returns "1.2 GiB", "61.3 MiB" or "512 B"."""
    power = min(int(math.log2(max(number, 1)) // 10), 4)
    if not power:
        return f"{number:.0f} B"
    return f"{number / 1024**power:.1f} {' KMGT'[power]}iB"


def count(number: float) -> str:
    """Returns "61,706", or "25.6 M" and "4.1 G" of millions."""
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= unit:
            return f"{number / unit:.4g} {letter}"
    return f"{number:,.0f}"


def value(number: object) -> str:
    """Returns the value of a field: numbers as they are written, a text in quotes only if empty."""
    if isinstance(number, str):
        return number or "''"
    return f"{number:g}" if isinstance(number, float) else str(number)


def probability(p: float) -> str:
    """Returns a p-value with two digits that count: "0.031", "2.1e-09"."""
    return f"{p:.2g}" if p < 0.995 else "1"
