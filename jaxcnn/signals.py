"""SIGTERM and Ctrl-C end a run after its step, saved; the second one ends it at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class StopRequest:
    """Whether the run was asked to stop, and by which signal.

    Attributes:
      signal: the first signal that came, or None.
    """

    def __init__(self, say: Callable[[str], None]):
        self.signal: signal.Signals | None = None
        self._say = say

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """Of the signal, for people."""
        return (self.signal or signal.SIGTERM).name

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell would report it: 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGTERM)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        del frame
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        with contextlib.suppress(RuntimeError):  # it may come while the run itself prints
            self._say(f"{self.name}: finishing the step and saving (once more: leave at once)")


@contextlib.contextmanager
def stop_request(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT inside the context; does nothing outside the main thread.

    Args:
      say: called with one line when the first signal comes.
    """
    request = StopRequest(say)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, request.handle) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
