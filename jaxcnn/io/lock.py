"""Waits for other processes that do the same work."""

import fcntl
from collections.abc import Callable
from typing import IO


def wait_for_lock(file: IO[bytes], waiting: Callable[[], None]) -> bool:
    """Locks an open file; the operating system releases the lock of a killed process.

    Args:
      file: the lock file.
      waiting: called once if another process holds the lock.

    Returns:
      False if the file system has no locks.
    """
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
