"""Batches made ahead of their use, in threads or in processes of their own."""

from collections.abc import Callable, Generator

import numpy as np

Arrays = dict[str, np.ndarray]
Problems = list[tuple[int, str]]  # index and reason of the images that could not be read

_THREADS = 4  # without workers; Pillow decodes outside the interpreter's lock


def read_ahead(
    make: Callable[[int], tuple[Arrays, Problems]], start: int, stop: int, num_workers: int
) -> Generator[tuple[Arrays, Problems]]:
    """Calls make(step) for start … stop - 1 in worker processes or threads, in order.

    What it returns are arrays by name, and what could not be read.
    """
    import grain
    from absl import flags

    if stop <= start:
        return
    if num_workers and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain's workers read absl flags; a library user has none
    num_workers = min(num_workers, stop - start)
    # An element is a whole batch, so grain's default of 500 read ahead would fill the memory.
    threads = 1 if num_workers else _THREADS
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    batches = grain.MapDataset.range(start, stop).map(make).to_iter_dataset(options)
    if num_workers:
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
        )
    iterator = iter(batches)
    try:
        yield from map(_own, iterator) if num_workers else iterator
    finally:
        iterator.close()


def _own(made: tuple[Arrays, Problems]) -> tuple[Arrays, Problems]:
    """Copies out of shared memory, which whoever still holds a batch at exit would leak."""
    batch, problems = made
    return {field: np.array(rows) for field, rows in batch.items()}, problems
