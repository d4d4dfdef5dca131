"""A process that makes batches and sends them through a pipe.

The pipe is all that it shares with the process that started it: no memory and no file is left when
either is killed, and a worker ends when its standard input is closed, which also kill -9 of the
other process does. Signals are blocked in it from its first instruction: Ctrl-C and `timeout` reach
a whole group, and only the process that uses the batches decides when to stop.

A worker does not import the main script. What is sent to it is pickled by the process itself and
never comes from a file.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import numpy as np

from jaxcnn.errors import UserError

Made = tuple[dict[str, np.ndarray], list[tuple[int, str]]]

BEAT = 1.0  # seconds between two messages about the file being read
PIPE_BYTES = 2**20
BLOCKED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    " from jaxcnn.data.worker import main; main()"
)


class EndedError(Exception):
    """A worker is gone; `code` is that of its process, negative for a signal."""

    def __init__(self, code: int):
        reason = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                reason = signal.Signals(-code).name
        super().__init__(reason)
        self.code = code


class Progress:
    """Which example is being read, and since when (`time.monotonic`)."""

    def __init__(self) -> None:
        self.example: int | None = None
        self.moved = time.monotonic()

    def begin(self) -> None:
        """Restarts the timer."""
        self.moved = time.monotonic()

    def read(self, example: int | None) -> None:
        """Sets the example; the same one again is no progress."""
        if example != self.example:
            self.example = example
            self.begin()


here = threading.local()  # `progress` of a thread that makes batches


def note(example: int) -> None:
    """Says which example is read next; for functions that make batches."""
    progress: Progress | None = getattr(here, "progress", None)
    if progress is not None:
        progress.example = example
        progress.begin()


def pickled(make: Callable[[int], Made]) -> bytes:
    """Returns a function in the form that `Worker` takes."""
    import cloudpickle

    return cast(bytes, cloudpickle.dumps(make))


class Worker:
    """A process that makes the batches of some steps.

    Args:
      make: see `pickled`.
      steps: in order.
    """

    def __init__(self, make: bytes, steps: range):
        command = [sys.executable, "-c", START, json.dumps(sys.path)]
        blocked = [getattr(signal, name) for name in BLOCKED if hasattr(signal, name)]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # which the worker inherits
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._process.pid
        self._work = json.dumps([steps.start, steps.stop, steps.step]).encode(), make
        self._given = cast(IO[bytes], self._process.stdin)
        self._results = cast(IO[bytes], self._process.stdout)
        _enlarge(self._results)

    def kill(self) -> None:
        """Ends the process at once; there is nothing in it to be lost."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> int:
        """Ends the process if it still runs, and returns its code."""
        self.kill()
        code = self._process.wait()
        for pipe in (self._given, self._results):
            with contextlib.suppress(OSError):
                pipe.close()
        return code

    def batches(self, progress: Progress) -> Iterator[Made]:
        """Yields the batches as the worker makes them.

        Args:
          progress: receives the names of the files that the worker reads.

        Raises:
          EndedError: the process is gone.
          UserError: that `make` raised.
          RuntimeError: with the traceback of anything else that it raised.
        """
        given, results = self._given, self._results
        try:
            with contextlib.suppress(BrokenPipeError):
                for part in self._work:
                    _write(given, len(part).to_bytes(8, "little"), part)
            while (message := _receive(results)) is not None:
                said, arrays = message
                if "reading" in said:
                    progress.read(said["reading"])
                elif "error" in said:
                    raise _error(**said["error"])
                elif said.get("done"):
                    return
                else:
                    yield arrays, [(index, reason) for index, reason in said["problems"]]
        finally:
            code = self.close()
        raise EndedError(code)


def main() -> None:
    """Runs in the worker."""
    results = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not come between the batches
    turn = threading.Lock()
    progress = here.progress = Progress()

    def send(said: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
        try:
            with turn:
                _send(results, said, arrays or {})
        except OSError:  # nobody reads
            os._exit(0)

    def beat() -> None:
        while True:
            time.sleep(BEAT)
            send({"reading": progress.example})

    def live() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    try:
        with os.fdopen(0, "rb", buffering=0, closefd=False) as given:
            steps, make = _receive_bytes(given), _receive_bytes(given)
        if steps is None or make is None:
            return
        for task in (live, beat):
            threading.Thread(target=task, daemon=True).start()
        import cloudpickle

        function = cloudpickle.loads(bytes(make))  # of the process that started this one
        for step in range(*json.loads(bytes(steps))):
            arrays, problems = function(step)
            send({"problems": problems}, arrays)
        send({"done": True})
    except BaseException as error:
        text = str(error) if isinstance(error, UserError) else traceback.format_exc()
        send({"error": {"text": text, "code": getattr(error, "exit_code", None)}})
    os._exit(0)  # without a word of the libraries' own


def _error(text: str, code: int | None) -> Exception:
    if code is not None:
        return UserError(text, code)
    return RuntimeError(f"a data worker failed:\n{text}")


def _send(stream: Any, said: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    header = json.dumps({**said, "arrays": shapes}).encode()
    _write(stream, len(header).to_bytes(8, "little") + header)
    _write(stream, *(memoryview(array).cast("B") for array in arrays.values() if array.size))


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Reads one message; None at the end of the stream, or within a message that ends there."""
    header = _receive_bytes(stream)
    if header is None:
        return None
    said = json.loads(bytes(header))
    arrays = {}
    for name, dtype, shape in said.pop("arrays"):
        arrays[name] = np.empty(shape, dtype)
        if arrays[name].size and not _fill(stream, memoryview(arrays[name]).cast("B")):
            return None
    return said, arrays


def _receive_bytes(stream: IO[bytes]) -> bytearray | None:
    length = bytearray(8)
    if not _fill(stream, memoryview(length)):
        return None
    found = bytearray(int.from_bytes(length, "little"))
    return found if _fill(stream, memoryview(found)) else None


def _fill(stream: IO[bytes], into: memoryview) -> bool:
    """Tells whether the stream had that many bytes."""
    while into:
        count = stream.readinto(into)  # type: ignore[attr-defined]
        if not count:
            return False
        into = into[count:]
    return True


def _write(stream: Any, *parts: Any) -> None:
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[stream.write(rest) :]


def _enlarge(pipe: Any) -> None:
    """A pipe of 64 KiB would change processes 150 times for a batch."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # more than a user may have
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
