"""What a command shows while it waits for something that prints nothing: a compiler, a disk."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

SHORT = 3.0  # seconds without a message
FIRST, EVERY = 10.0, 60.0  # seconds before the first line and between others, without a terminal


@contextlib.contextmanager
def waiting(
    what: str, say: Callable[[str], None], live: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Says how long the context has taken, while it lasts and, if it was long, at its end.

    Args:
      what: is done, such as "compiling the training step".
      say: takes a line that stays.
      live: takes a line that replaces the one before, each second; None where there is no terminal.
    """
    begun = time.monotonic()
    done = threading.Event()

    def show() -> None:
        pause = SHORT if live else FIRST
        while not done.wait(pause):
            pause = 1.0 if live else EVERY
            (live or say)(f"{what}, {time.monotonic() - begun:.0f} s …")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    seconds = time.monotonic() - begun
    if seconds >= SHORT:
        say(f"{what}: {seconds:.0f} s")
