"""SIGTERM, Ctrl-C or a closed terminal end a command within seconds, and nothing is lost.

Where nothing is unsaved the signal raises `Stopped` at once. Where something is, it waits: for the
end of a step, or until `interruptible` says what must be saved first. Python's handlers run between
two of its instructions only, and a compilation may be minutes of C++ without any, so another thread
ends the process if the handler was not heard in time.

This file needs the standard library alone: a command loads it before all others.
"""

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from jaxcnn.io import stdio

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 3.0  # seconds for the main thread to hear of a signal
TOGETHER = 0.3  # seconds: `timeout` and shells send the same request twice
MEANING = {
    signal.SIGINT: " (Ctrl-C)",
    signal.SIGHUP: " (the terminal is gone)",
    signal.SIGPIPE: " (nothing reads the standard output)",
}


class Stopped(SystemExit):
    """A signal ends the process; `code` is 128 + its number."""


class StopRequest:
    """Whether the process was asked to stop, and by which signal.

    Attributes:
      signal: the first signal that came, or None.
      say: takes a line for the person at the terminal.
    """

    def __init__(self, say: Callable[[str], None]):
        self.signal: signal.Signals | None = None
        self.say = say
        self._first = 0.0
        self._announced = False
        self._holding = False  # something is unsaved: the signal waits
        self._keep: Callable[[], str] | None = None  # saves it, and tells
        self._turn = threading.Lock()  # of who saves: the main thread, or the one that watches

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """Returns "SIGINT (Ctrl-C)"."""
        number = self.signal or signal.SIGTERM
        return number.name + MEANING.get(number, "")

    @property
    def exit_code(self) -> int:
        """Returns 128 + the signal's number, as a shell would report it: 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGTERM)

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handles a signal.

        Raises:
          Stopped: unless something is unsaved.
        """
        if self.signal is not None:
            if time.monotonic() - self._first > TOGETHER:
                os._exit(128 + number)
            return
        self._first, self.signal = time.monotonic(), signal.Signals(number)
        if not self._holding:
            if self is _of_process and _imports(frame):
                self._leave(f"stopped by {self.name}")
            raise Stopped(self.exit_code)
        self._announce(self.signal)

    def _announce(self, number: int) -> None:
        """Says once that the process ends later, and how it ends at once."""
        if self._announced:
            return
        self._announced = True
        name = f"{signal.Signals(number).name}{MEANING.get(signal.Signals(number), '')}"
        with contextlib.suppress(RuntimeError, OSError):  # it may come while the run itself prints
            self.say(f"{name}: finishing the step and saving (once more: leave at once)")

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets a signal wait for the end of the context, or for `interruptible` inside it.

        Raises:
          Stopped: at the end, if there was a signal.
        """
        before, self._holding = self._holding, True
        try:
            yield
        finally:
            self._holding = before
        if self.signal is not None and not before:
            raise Stopped(self.exit_code)

    @contextlib.contextmanager
    def interruptible(self, keep: Callable[[], str]) -> Iterator[None]:
        """Lets a signal raise at once inside `deferred`: while the run waits, outside of a step.

        Args:
          keep: saves what is unsaved and returns what to say, where the main thread does not hear
            of the signal; it runs in another thread, and then the process ends.

        Raises:
          Stopped: when a signal comes, or has come before.
        """
        self._keep, self._holding = keep, False
        try:
            if self.signal is not None:
                raise Stopped(self.exit_code)
            yield
        finally:
            self.hold()

    def hold(self) -> None:
        """Lets a signal wait again; blocks for ever if the other thread has begun to save."""
        with self._turn:
            self._keep, self._holding = None, True

    def watch(self, pipe: int) -> None:
        """Ends the process where the main thread does not; for a thread of its own.

        Args:
          pipe: gets a byte of each signal as it comes, and a 0 to end the thread.
        """
        first = free = 0.0
        number = 0
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.1 if number else None)
            now = time.monotonic()
            for byte in os.read(pipe, 64) if ready else b"":
                if byte == 0:
                    return
                if byte not in SIGNALS:
                    continue
                if number and now - first > TOGETHER:
                    os._exit(128 + byte)
                if not number:
                    number, first = byte, now
            if not number:
                continue
            if self._holding:
                free = now
                if now - first > PATIENCE:  # the main thread is in a step that takes long
                    self._announce(number)
            elif now - max(first, free) > PATIENCE:
                self._end(number)

    def _end(self, number: int) -> None:
        self._turn.acquire()
        if self._holding:  # the main thread was faster
            self._turn.release()
            return
        self.signal = self.signal or signal.Signals(number)
        try:
            said = self._keep() if self._keep else f"stopped by {self.name}"
        except BaseException as error:
            said = f"stopped by {self.name}; what was not saved yet could not be: {error}"
        self._leave(said)

    def _leave(self, line: str) -> NoReturn:
        """Ends the process without unwinding it."""
        for clean in CLEANERS:
            with contextlib.suppress(Exception):
                clean()
        with contextlib.suppress(Exception):
            tell(line)
            sys.stdout.flush()
        os._exit(self.exit_code)


def _imports(frame: FrameType | None) -> bool:
    """Tells whether a module is being loaded: C++ that an exception interrupts there may crash."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


CLEANERS: list[Callable[[], None]] = []  # called before a process ends without unwinding
_of_process: StopRequest | None = None
_told = False  # how the process ends


def tell(line: str) -> None:
    """Prints a last line on standard error, below a live line if there is a terminal."""
    global _told
    _told = True
    live = stdio.is_live(sys.stderr)
    print(f"\n{line}\033[?25h" if live else line, file=sys.stderr, flush=True)


def print_stop_message(advice: str = "") -> None:
    """Prints the last line of a command that was stopped, unless it has told more."""
    if not _told and _of_process is not None and _of_process.signal is not None:
        with contextlib.suppress(OSError):
            tell(f"stopped by {_of_process.name}{'; ' * bool(advice)}{advice}")


def install() -> None:
    """Handles the signals of a command until it ends; for its first lines.

    What is ignored already, as `nohup` and background shells ask for, stays ignored.
    """
    global _of_process
    _of_process = StopRequest(tell)
    _handle(_of_process)
    _silence(_of_process)
    atexit.register(print_stop_message)  # of what is stopped while it is still loaded
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see `cli.begin`


def install_again() -> None:
    """Takes the signals back from a library that has taken them."""
    if _of_process is not None:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _of_process.ask)


@contextlib.contextmanager
def stop_request(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Yields the request of the process; a library call gets one that lasts as long as the context.

    Outside the main thread nothing is caught, except what the command itself has installed.

    Args:
      say: takes a line when the first signal comes and something is unsaved.
    """
    if _of_process is not None:
        before, _of_process.say = _of_process.say, say
        try:
            yield _of_process
        finally:
            _of_process.say = before
        return
    request = StopRequest(say)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    restore = _handle(request)
    try:
        yield request
    finally:
        restore()


def _handle(request: StopRequest) -> Callable[[], None]:
    """Directs the signals to a request; returns what directs them back."""
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    woken = signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    before = {
        number: signal.signal(number, request.ask)
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    thread = threading.Thread(target=request.watch, args=(receiving,), daemon=True, name="signals")
    thread.start()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.write(sending, b"\0")
        thread.join()
        os.close(receiving)
        os.close(sending)

    return restore


def _silence(request: StopRequest) -> None:
    """Lets no thread and no finaliser print a traceback because the process is being stopped."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def on_unraisable(found: "sys.UnraisableHookArgs") -> None:
        if request.signal is None:
            unraisable(found)

    def on_thread(found: threading.ExceptHookArgs) -> None:
        if request.signal is None:
            in_thread(found)

    sys.unraisablehook, threading.excepthook = on_unraisable, on_thread
