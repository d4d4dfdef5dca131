"""A process that makes batches and sends them through a pipe.

The worker shares only the pipe with its parent, so no memory or file is left when either is killed.
It ends when its standard input is closed, which also happens when the parent is killed by kill -9.
It blocks signals from its first instruction: Ctrl-C and `timeout` signal a whole process group, but
only the parent decides when to stop.

A worker does not import the main script. Its input is pickled by the parent itself and never comes
from a file.
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
    """Raised when a worker has ended; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int):
        reason = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                reason = signal.Signals(-code).name
        super().__init__(reason)
        self.code = code


class Progress:
    """The example that is being read, and its start time (`time.monotonic`)."""

    def __init__(self) -> None:
        self.example: int | None = None
        self.moved = time.monotonic()

    def begin(self) -> None:
        """Restarts the timer."""
        self.moved = time.monotonic()

    def read(self, example: int | None) -> None:
        """Sets the example; setting the same one does not restart the timer."""
        if example != self.example:
            self.example = example
            self.begin()


here = threading.local()  # holds `progress` of each thread that makes batches


def note(example: int) -> None:
    """Records which example is read next; for functions that make batches."""
    progress: Progress | None = getattr(here, "progress", None)
    if progress is not None:
        progress.example = example
        progress.begin()


def pickled(make: Callable[[int], Made]) -> bytes:
    """Returns a pickled function for `Worker`."""
    import cloudpickle

    return cast(bytes, cloudpickle.dumps(make))


class Worker:
    """A process that makes the batches of some steps.

    Args:
      make: result of `pickled`.
      steps: steps to make, in order.
    """

    def __init__(self, make: bytes, steps: range):
        command = [sys.executable, "-c", START, json.dumps(sys.path)]
        blocked = [getattr(signal, name) for name in BLOCKED if hasattr(signal, name)]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # inherited by the worker
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
        """Kills the process at once; it holds no unsaved state."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> int:
        """Ends the process if it still runs; returns its exit code."""
        self.kill()
        code = self._process.wait()
        for pipe in (self._given, self._results):
            with contextlib.suppress(OSError):
                pipe.close()
        return code

    def batches(self, progress: Progress) -> Iterator[Made]:
        """Yields batches as the worker makes them.

        Args:
          progress: receives the indices of the examples that the worker reads.

        Raises:
          EndedError: if the process has ended.
          UserError: if `make` raised it.
          RuntimeError: if `make` raised another exception; the message holds its traceback.
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
    """Runs the worker process."""
    results = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library's output must not mix with batches
    turn = threading.Lock()
    progress = here.progress = Progress()

    def send(said: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
        try:
            with turn:
                _send(results, said, arrays or {})
        except OSError:  # no reader
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

        function = cloudpickle.loads(bytes(make))  # pickled by the parent
        for step in range(*json.loads(bytes(steps))):
            arrays, problems = function(step)
            send({"problems": problems}, arrays)
        send({"done": True})
    except BaseException as error:
        text = str(error) if isinstance(error, UserError) else traceback.format_exc()
        send({"error": {"text": text, "code": getattr(error, "exit_code", None)}})
    os._exit(0)  # without output of libraries


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
    """Reads one message; returns None if the stream ends before or within it."""
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
    """Returns whether the stream had enough bytes."""
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
    """Enlarges a pipe; with 64 KiB a batch would need 150 context switches."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # above the user's limit
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
