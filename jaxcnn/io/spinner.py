"""Shows the elapsed time while a command waits for a compiler or a disk."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

SHORT = 3.0  # seconds without a message
FIRST, EVERY = 10.0, 60.0  # seconds before the first line and between lines, without a terminal


@contextlib.contextmanager
def waiting(
    what: str, say: Callable[[str], None], live: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Shows how long the context takes, and at the end how long it took if that was long.

    Args:
      what: name of the work, such as "compiling the training step".
      say: prints a permanent line.
      live: replaces the previous line, each second; None without a terminal.
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
