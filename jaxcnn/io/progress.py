"""Shows the progress of long work on standard error: a bar on a terminal, lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from jaxcnn.errors import printable
from jaxcnn.io import stdio

SECONDS_BETWEEN_LINES = 30.0  # without a terminal

Show = Callable[[int, int], None]  # called with what is done and the whole; 0 if that is unknown


def say(line: str) -> None:
    """Prints a line on standard error."""
    print(printable(line), file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(name: str, unit: str = "bytes") -> Iterator[Show]:
    """Yields a function that shows the progress.

    Args:
      name: what is done.
      unit: "bytes", which are shown as MB, or a word such as "images".
    """
    if not stdio.is_live(sys.stderr):
        said = time.monotonic()

        def show_line(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                say(f"{name}: {_of(done, total, unit)}")

        yield show_line
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    amount = (
        (bars.DownloadColumn(), bars.TransferSpeedColumn())
        if unit == "bytes"
        else (bars.MofNCompleteColumn(),)
    )
    columns = (*bars.Progress.get_default_columns(), *amount)
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(printable(name)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _of(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
    return f"{done:,} of {total:,} {unit}"
