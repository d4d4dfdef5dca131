"""Freed memory between blocks that stay goes back to the system."""

import platform

import numpy as np
import pytest

from jaxcnn.run.distributed import trim_heap

BLOCK = 1 << 16  # bytes: below what glibc asks the system for by itself
COUNT = 2000


def resident():
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_free_memory_goes_back():
    blocks = [np.ones(BLOCK, np.uint8) for _ in range(COUNT)]
    kept = blocks[::20]
    del blocks
    before = resident()
    trim_heap()
    assert before - resident() > COUNT * BLOCK / 2
    assert all(block.all() for block in kept)
