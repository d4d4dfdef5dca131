"""Shows the progress of a download on standard error: a bar on a terminal, lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from jaxcnn.errors import printable
from jaxcnn.io import stdio

SECONDS_BETWEEN_LINES = 30.0  # without a terminal

Show = Callable[[int, int], None]  # called with the bytes so far and all bytes, 0 if unknown


def say(line: str) -> None:
    """Prints a line on standard error."""
    print(printable(line), file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(name: str) -> Iterator[Show]:
    """Yields a function that shows the progress of a download."""
    if not stdio.is_live(sys.stderr):
        said = time.monotonic()

        def show_line(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                say(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        yield show_line
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        *bars.Progress.get_default_columns(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
