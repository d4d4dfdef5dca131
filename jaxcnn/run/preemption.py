"""Handles SIGTERM, Ctrl-C and a closed terminal within seconds, without losing results.

If nothing is unsaved, a signal raises `Stopped` at once. Otherwise it waits for the end of a step,
or for `interruptible`, which knows what must be saved first. Python runs handlers only between two
of its instructions, and a compilation is minutes of C++. Another thread therefore ends the process
if the handler did not run in time.

This file needs only the standard library, because a command loads it first.
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
PATIENCE = 3.0  # seconds for the main thread to handle a signal
TOGETHER = 0.3  # seconds; `timeout` and shells send the same request twice
MEANING = {
    signal.SIGINT: " (Ctrl-C)",
    signal.SIGHUP: " (the terminal is gone)",
    signal.SIGPIPE: " (nothing reads the standard output)",
}


class Stopped(SystemExit):
    """Raised to end the process after a signal; `code` is 128 + its number."""


class StopRequest:
    """Records whether, and by which signal, the process was asked to stop.

    Attributes:
      signal: the first signal received, or None.
      say: prints a line on the terminal.
    """

    def __init__(self, say: Callable[[str], None]):
        self.signal: signal.Signals | None = None
        self.say = say
        self._first = 0.0
        self._announced = False
        self._holding = False  # something is unsaved: the signal waits
        self._keep: Callable[[], str] | None = None  # saves the state and returns a message
        self._turn = threading.Lock()  # held by the thread that saves, main or watching

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
        """Says once that the process ends later, and how to end it at once."""
        if self._announced:
            return
        self._announced = True
        name = f"{signal.Signals(number).name}{MEANING.get(signal.Signals(number), '')}"
        with contextlib.suppress(RuntimeError, OSError):  # the run may be printing
            self.say(f"{name}: finishing the step and saving (once more: leave at once)")

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Delays a signal to the end of the context, or to `interruptible` inside it.

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
        """Lets a signal raise at once inside `deferred`, while the run waits between steps.

        Args:
          keep: saves unsaved state and returns a message. It runs in another thread before the
            process ends, if the main thread does not handle the signal.

        Raises:
          Stopped: if a signal comes, or came before.
        """
        self._keep, self._holding = keep, False
        try:
            if self.signal is not None:
                raise Stopped(self.exit_code)
            yield
        finally:
            self.hold()

    def hold(self) -> None:
        """Delays signals again; blocks forever if the other thread has begun to save."""
        with self._turn:
            self._keep, self._holding = None, True

    def watch(self, pipe: int) -> None:
        """Ends the process if the main thread does not; runs in its own thread.

        Args:
          pipe: receives a byte for each signal, and a 0 to end the thread.
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
                if now - first > PATIENCE:  # the main thread is in a long step
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
    """Returns whether a module is being loaded; an exception may crash its C++ code."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


CLEANERS: list[Callable[[], None]] = []  # called before a process ends without unwinding
_of_process: StopRequest | None = None
_told = False  # whether the last line was printed


def tell(line: str) -> None:
    """Prints the last line on standard error, below a live line if there is a terminal."""
    global _told
    _told = True
    live = stdio.is_live(sys.stderr)
    print(f"\n{line}\033[?25h" if live else line, file=sys.stderr, flush=True)


def print_stop_message(advice: str = "") -> None:
    """Prints the last line of a stopped command, unless one was printed before."""
    if not _told and _of_process is not None and _of_process.signal is not None:
        with contextlib.suppress(OSError):
            tell(f"stopped by {_of_process.name}{'; ' * bool(advice)}{advice}")


def install() -> None:
    """Handles the signals of a command until it ends; called first.

    Signals that are already ignored, as `nohup` and background shells request, stay ignored.
    """
    global _of_process
    _of_process = StopRequest(tell)
    _handle(_of_process)
    _silence(_of_process)
    atexit.register(print_stop_message)  # for a stop while modules are loaded
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see `cli.begin`


def install_again() -> None:
    """Reinstalls the signal handlers after a library has replaced them."""
    if _of_process is not None:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _of_process.ask)


@contextlib.contextmanager
def stop_request(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Yields the process's stop request; a library call gets a new one for the context.

    Outside the main thread no signal is handled, except by what the command has installed.

    Args:
      say: prints a line when the first signal comes and something is unsaved.
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
    """Directs the signals to a request; returns a function that restores the old handlers."""
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
    """Suppresses tracebacks of threads and finalisers while the process stops."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def on_unraisable(found: "sys.UnraisableHookArgs") -> None:
        if request.signal is None:
            unraisable(found)

    def on_thread(found: threading.ExceptHookArgs) -> None:
        if request.signal is None:
            in_thread(found)

    sys.unraisablehook, threading.excepthook = on_unraisable, on_thread
