"""Makes batches ahead of their use, in threads or worker processes.

Lane i of n makes the steps start + i, start + i + n, …, and the reader takes turns, so the order is
fixed. A lane is a thread; with workers it reads the batches from a process (`worker`). A worker
that is killed or hangs is restarted at its current step. A batch depends only on its step, so
nothing else changes.
"""

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np

from jaxcnn.data import worker
from jaxcnn.errors import EXIT_STUCK, UserError, printable

Arrays = dict[str, np.ndarray]
Problems = list[tuple[int, str]]  # index and reason of unreadable images
Make = Callable[[int], tuple[Arrays, Problems]]

THREADS = 4  # without workers; Pillow decodes without the interpreter's lock
QUIET = 10.0  # seconds of waiting before the first message; doubled each time
HUNG = 60.0  # seconds for one example before its worker is restarted
RESTARTS = 2  # of a worker within `SPAN` batches
SPAN = 100
_log = logging.getLogger("jaxcnn")


class _End(NamedTuple):
    """The error that ended a lane before its last step."""

    error: BaseException


class Lane:
    """A thread that makes every n-th batch, or reads it from a worker, one batch ahead.

    Args:
      number: number of the lane, from 0.
      steps: steps to make.
      make: step → batch.
      pickled: `make` for a worker; None makes the batches in this thread.
      describe: index → file of an example.
    """

    def __init__(
        self,
        number: int,
        steps: range,
        make: Make,
        pickled: bytes | None,
        describe: Callable[[int], str],
    ):
        self._number, self._steps, self._make, self._pickled = number, steps, make, pickled
        self._describe = describe
        self._ready: queue.SimpleQueue[tuple[Arrays, Problems] | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(1)
        self._closed = False
        self._hung = False
        self._worker: worker.Worker | None = None
        self.progress = worker.Progress()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"data {number}")
        self._thread.start()

    def next(self, step: int) -> tuple[Arrays, Problems]:
        """Waits for the batch of a step; logs a message if that takes long.

        Raises:
          UserError: if the worker fails repeatedly, or (exit code 74) reading an example in this
            thread does not end.
          Exception: if `make` raised it.
        """
        began, said = time.monotonic(), QUIET
        while True:
            try:
                found = self._ready.get(timeout=min(1.0, QUIET, HUNG))
            except queue.Empty:
                waited = time.monotonic() - began
                if waited >= said:
                    said = 2 * waited
                    _log.warning(
                        "waiting for data: %.0f s for the batch after step %d, reading %s",
                        waited,
                        step,
                        self._place(),
                    )
                self._look_after(step)
                continue
            if isinstance(found, _End):
                raise found.error
            self._room.release()
            return found

    def close(self) -> None:
        """Ends the thread and its worker."""
        self._closed = True
        self._room.release()
        if self._worker is not None:
            self._worker.kill()

    def join(self, seconds: float) -> None:
        """Waits for the thread; a thread that hangs in a file stays until the process ends."""
        self._thread.join(seconds)

    def _look_after(self, step: int) -> None:
        """Kills a worker that reads one example for too long."""
        still = time.monotonic() - self.progress.moved
        if self._pickled is None:
            if still > HUNG * (1 + RESTARTS):
                raise UserError(
                    f"reading {self._place()} for the batch after step {step} has not ended after"
                    f" {still:.0f} s: look at the file and its disk",
                    EXIT_STUCK,
                )
        elif still > HUNG and self._worker is not None and not self._hung:
            self._hung = True
            self._worker.kill()

    def _place(self) -> str:
        if self.progress.example is None:
            return "its first example"
        return printable(self._describe(self.progress.example))

    def _run(self) -> None:
        worker.here.progress = self.progress
        try:
            made = (
                map(self._make, self._steps)
                if self._pickled is None
                else self._from_worker(self._pickled)
            )
            for _ in self._steps:
                self._room.acquire()
                self.progress.begin()
                if self._closed:
                    return
                self._ready.put(next(made))
        except BaseException as error:
            self._ready.put(_End(error))
        finally:
            if self._worker is not None:
                self._worker.close()

    def _from_worker(self, make: bytes) -> Iterator[tuple[Arrays, Problems]]:
        """Reads the batches from a worker; starts another worker if it ends."""
        ended: list[int] = []  # numbers of batches after which a worker ended
        done = 0
        while done < len(self._steps) and not self._closed:
            self.progress.begin()
            self._hung = False
            self._worker = worker.Worker(make, self._steps[done:])
            if self._closed:  # closed meanwhile
                return
            try:
                for batch in self._worker.batches(self.progress):
                    yield batch
                    done += 1
            except worker.EndedError as error:
                if self._closed:
                    return
                step = self._steps[done]
                reason = f"has been reading {self._place()} for {HUNG:.0f} s" * self._hung
                reason = reason or f"ended ({error})"
                if len(ended) >= RESTARTS and done - ended[-RESTARTS] < SPAN:
                    raise UserError(
                        f"data worker {self._number} {reason}, {RESTARTS + 1} times now:"
                        f" {_remedy(error.code, self._hung)}",
                        EXIT_STUCK,
                    ) from None
                ended.append(done)
                _log.warning(
                    "data worker %d %s; it is started again at step %d",
                    self._number,
                    reason,
                    step,
                )


def _remedy(code: int, hung: bool) -> str:
    if hung:
        return "look at the file and its disk"
    if code == -signal.SIGKILL:
        return "the memory may be full; lower data.num_workers or the batch"
    return "its output is above; data.num_workers=0 reads in threads"


def prefetch(
    make: Make,
    start: int,
    stop: int,
    num_workers: int,
    describe: Callable[[int], str] = "example {}".format,
) -> Generator[tuple[Arrays, Problems]]:
    """Calls make(step) for start … stop - 1 in worker processes or threads, in order.

    Args:
      make: returns arrays by name and unreadable images; calls `worker.note` for progress.
      start: the first step.
      stop: the step to stop before.
      num_workers: number of processes; 0 uses threads of this one.
      describe: index → file of an example, for messages.

    Raises:
      UserError: while iterating, if a worker ends or hangs repeatedly, or reading an example does
        not end (both exit code 74).
    """
    if stop <= start:
        return
    count = min(num_workers or THREADS, stop - start)
    pickled = worker.pickled(make) if num_workers else None
    lanes: list[Lane] = []
    try:
        for number in range(count):
            steps = range(start + number, stop, count)
            lanes.append(Lane(number, steps, make, pickled, describe))
        for step in range(start, stop):
            yield lanes[(step - start) % count].next(step)
    finally:
        for lane in lanes:
            lane.close()
        until = time.monotonic() + 1
        for lane in lanes:
            lane.join(max(0.0, until - time.monotonic()))
