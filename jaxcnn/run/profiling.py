"""Profiles a few steps of a run, for TensorBoard or Perfetto."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

PROFILED_STEPS = (10, 15)  # counted from the first step of this process


@contextlib.contextmanager
def tracing(directory: Path, start: int, wanted: bool) -> Iterator[Callable[[int, Any], None]]:
    """Yields (step, metrics) → None, which starts and stops the profiler at `PROFILED_STEPS`."""
    running, done = False, not wanted
    first, last = (start + step for step in PROFILED_STEPS)

    def trace(step: int, metrics: Any) -> None:
        nonlocal running, done
        if done or step < first:
            return
        if not running:
            jax.block_until_ready(metrics)
            jax.profiler.start_trace(str(directory))
            running = True
        elif step >= last:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            running, done = False, True

    try:
        yield trace
    finally:
        if running:
            jax.profiler.stop_trace()
