"""Processes of an ablation: they end with the one that starts them, on cores of their own."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from jaxcnn.run import preemption


def share_cores(count: int) -> list[set[int]]:
    """Returns disjoint sets of this process's cores; [] if there are fewer, or one job.

    Two networks that share two cores take half as long again as two with a core each.
    """
    if count < 2 or not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    size = len(cores) // count
    return [set(cores[i * size : (i + 1) * size]) for i in range(count)] if size else []


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Lets signals wait, in this process until the end and in those started until they say so."""
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, preemption.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def start(command: list[str], mark: str) -> subprocess.Popen:
    """Starts a process that ends with this one; signals come to it from here alone.

    The environment variable `mark` tells it so.
    """
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, mark: "1"},
    )
