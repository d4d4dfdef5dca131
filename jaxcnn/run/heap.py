"""Gives memory that compilation has freed back to the system."""

import contextlib
import ctypes


def trim_heap() -> None:
    """Returns free memory of the C library's allocator to the system; numbers do not change.

    glibc keeps what is freed between blocks that stay: 0.6 GB after GoogLeNet's training step was
    compiled. Does nothing where the C library has no `malloc_trim` (macOS, musl).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
