"""Makes batches of a data set: chooses the examples, their order, and each process's rows.

Training reads one endless stream. The example at global position p = step × batch_size + i is
number p mod N of epoch p div N, in the order of that epoch. An epoch may end inside a batch, and no
example is dropped. A batch is a function of (dataset, batch_size, seed, step) alone: resuming needs
only the step; processes and workers change only the speed. Process q of Q returns the q-th block of
rows of every global batch.

If only some examples have labels (`Dataset.labelled`), the stream contains only these. With
`unlabelled` = r > 0 every row is followed by r rows of a second stream: the whole split in its own
order, with hidden labels. Row i has a label if and only if i mod (1 + r) = 0, so one in 1 + r rows
of every process and device has a label.

With `repeats` = k > 1 a batch is k views of batch_size / k examples, one view after the other, and
the stream advances by batch_size / k per step (Hoffer et al., "Augment Your Batch", 2020). Each
view has its own order, in which an example has another neighbour (`mixup` pairs neighbours).
"""

import functools
import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from jaxcnn.data.dataset import Dataset, UnreadableImageError, random_bits
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.images.listing import say_once
from jaxcnn.data.order import in_order, neighbours
from jaxcnn.data.prefetch import Problems, prefetch
from jaxcnn.data.worker import note
from jaxcnn.errors import EXIT_BAD_DATA, UserError

Batch = dict[str, np.ndarray]
"""The rows of one process, b = batch_size / process_count:

image: uint8 [b, H, W, C], or [b, n] if a row holds several views (see `views`); absent if the
  programs gather the images (`Dataset.on_device`).
label: int32 [b]; -1 if hidden.
index: int32 [b], index in the split; -1 for padding.
epoch: int32 [b]; 0 in evaluation.
repeat: int32 [b], number of the example's view in its epoch; 0 without repeats.
weight: float32 [b], 1, or 0 for padding and for unreadable images (all zeros).
"""

DEFAULTS = BatchConfig()
NAMED = 10  # bad files named in the log; later ones are only counted
_log = logging.getLogger("jaxcnn")


def train_batch(
    dataset: Dataset,
    config: BatchConfig = DEFAULTS,
    *,
    batch_size: int,
    seed: int,
    step: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Batch:
    """Returns this process's rows of the training batch of one step.

    An unreadable image has weight 0; this function neither logs nor counts it.

    Args:
      dataset: the training split.
      config: unlabelled rows, and views per example.
      batch_size: global batch size.
      seed: seed of order and crops.
      step: number of the step, from 0.
      process_index: number of the block of rows.
      process_count: number of blocks.

    Raises:
      UserError: if batch_size is not a multiple of process_count, of 1 + unlabelled_per_labelled or
        of repeats, or a label is outside the classes.
    """
    rows = _rows(batch_size, process_index, process_count, config)
    unlabelled = config.unlabelled_per_labelled
    batch, _ = _train_step(dataset, batch_size, unlabelled, config.repeats, seed, rows, step)
    _check_labels(dataset, batch, -1 if unlabelled else 0)
    return batch


def train_batches(
    dataset: Dataset,
    config: BatchConfig = DEFAULTS,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    num_steps: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Generator[Batch]:
    """Yields this process's rows of the batches start_step … num_steps - 1, read ahead.

    Unreadable images have weight 0; the first ten are logged by name. Close the iterator (or use it
    up) to stop its workers. A killed worker is restarted. The iteration fails if this process finds
    more unreadable images since start_step than `config.max_bad_fraction` of the split; one is
    allowed unless the fraction is 0. Data in memory need no workers.

    Args:
      dataset: the training split.
      config: unlabelled rows, views per example, workers, and unreadable images.
      batch_size: global batch size.
      seed: seed of order and crops.
      start_step: first step to yield, usually that of the restored state.
      num_steps: the step to stop before.
      process_index: number of the block of rows.
      process_count: number of blocks.

    Raises:
      UserError: at once, if batch_size is not a multiple of process_count, of 1 +
        unlabelled_per_labelled or of repeats. While iterating, if too many images are unreadable or
        a label is outside the classes (exit code 65), or workers end or hang repeatedly (74).
    """
    rows = _rows(batch_size, process_index, process_count, config)
    unlabelled, fraction = config.unlabelled_per_labelled, config.max_bad_fraction
    make = functools.partial(
        _train_step, dataset, batch_size, unlabelled, config.repeats, seed, rows
    )
    bad = _Bad(dataset, max(1, int(fraction * dataset.num_examples)) if fraction > 0 else 0)
    least = -1 if unlabelled else 0
    return _checked(dataset, bad, make, start_step, num_steps, config.num_workers, least)


def staged_batches(
    stages: Sequence[tuple[int, Dataset]],
    config: BatchConfig = DEFAULTS,
    *,
    start_step: int,
    num_steps: int,
    **fields: Any,
) -> Generator[Batch]:
    """Yields the batches of `train_batches` from one data set after another.

    Args:
      stages: pairs of first step, rising from 0, and data set: the same examples at several sizes.
      config: see `train_batches`.
      start_step: see `train_batches`.
      num_steps: see `train_batches`.
      fields: see `train_batches`.
    """
    ends = [before for before, _ in stages[1:]] + [num_steps]
    for (before, dataset), end in zip(stages, ends, strict=True):
        first = max(before, start_step)
        if first < end:
            yield from train_batches(dataset, config, start_step=first, num_steps=end, **fields)


def eval_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
) -> Generator[Batch]:
    """Yields every example once, in order, deterministically; the last global batch is padded.

    Every process yields the same number of batches. Over all processes the rows with index >= 0 are
    the N examples. Rows with weight 0 among them are unreadable; their number is logged. Close the
    iterator (or use it up) to stop its workers.

    Args:
      dataset: any split.
      batch_size: global batch size.
      process_index: number of the block of rows.
      process_count: number of blocks.
      num_workers: processes that read and decode; 0 uses threads. Data in memory need neither.

    Raises:
      UserError: at once, if batch_size is not a multiple of process_count. While iterating, if a
        label is outside the classes or no image is readable (both exit code 65).
    """
    rows = _rows(batch_size, process_index, process_count)
    make = functools.partial(_eval_step, dataset, batch_size, rows)
    num_steps = -(-dataset.num_examples // batch_size)
    return _checked(dataset, _Bad(dataset, None), make, 0, num_steps, num_workers)


def _rows(
    batch_size: int, process_index: int, process_count: int, config: BatchConfig = DEFAULTS
) -> np.ndarray:
    """Returns the indices of this process's rows in the global batch, int [b]."""
    unlabelled, repeats = config.unlabelled_per_labelled, config.repeats
    if batch_size % (1 + unlabelled):
        raise UserError(
            f"batch_size={batch_size} does not hold whole groups of a row with label and"
            f" {unlabelled} without: make it a multiple of {1 + unlabelled}"
        )
    if batch_size % repeats:
        raise UserError(
            f"batch_size={batch_size} does not hold repeats={repeats} views of each example: make"
            f" it a multiple of {repeats}"
        )
    if repeats > 1 and unlabelled:
        raise UserError(f"repeats={repeats} cannot be used with unlabelled rows: set it to 1")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size={batch_size} must be a positive multiple of the {process_count} processes"
        )
    local = batch_size // process_count
    return np.arange(process_index * local, (process_index + 1) * local)


def _train_step(
    dataset: Dataset,
    batch_size: int,
    unlabelled: int,
    repeats: int,
    seed: int,
    rows: np.ndarray,
    step: int,
) -> tuple[Batch, Problems]:
    examples = batch_size // repeats
    row, repeat = (places[rows] for places in neighbours(examples, repeats))
    group, place = np.divmod(step * examples + row, 1 + unlabelled)
    known = dataset.labelled
    index, epoch = in_order(group, dataset.num_examples if known is None else len(known), seed, 0)
    if known is not None:
        index = known[index]
    hidden = place > 0
    position = (group * unlabelled + place - 1)[hidden]
    index[hidden], epoch[hidden] = in_order(position, dataset.num_examples, seed, 5)
    batch, problems = _gather(dataset, index, epoch, repeat, seed)
    batch["label"][hidden] = -1
    return batch, problems


def _eval_step(
    dataset: Dataset, batch_size: int, rows: np.ndarray, step: int
) -> tuple[Batch, Problems]:
    index = step * batch_size + rows
    index = np.where(index < dataset.num_examples, index, -1)
    return _gather(dataset, index, np.zeros_like(index), np.zeros_like(index), None)


def _gather(
    dataset: Dataset, index: np.ndarray, epoch: np.ndarray, repeat: np.ndarray, seed: int | None
) -> tuple[Batch, Problems]:
    """Reads the examples `index` (int [b], -1 for padding); without a seed nothing is random."""
    real = index >= 0
    problems: Problems = []
    image: np.ndarray | None
    if dataset.on_device and dataset.labels is not None:
        image = None
        label = np.where(real, dataset.labels[index], 0).astype(np.int32)
        weight = real.astype(np.float32)
    elif dataset.images is not None and dataset.labels is not None:
        if real.all():
            image, label = dataset.images[index], dataset.labels[index].astype(np.int32)
        else:
            image = np.zeros((len(index), *dataset.image_shape), np.uint8)
            label = np.zeros(len(index), np.int32)
            image[real], label[real] = dataset.images[index[real]], dataset.labels[index[real]]
        weight = real.astype(np.float32)
    else:
        image = np.zeros((len(index), *(dataset.array_shape or dataset.image_shape)), np.uint8)
        label = np.zeros(len(index), np.int32)
        weight = np.zeros(len(index), np.float32)
        for row in np.flatnonzero(real):
            number = int(index[row])
            note(number)
            rng = None
            if seed is not None:
                key, view = (seed, int(epoch[row])), int(repeat[row])
                bits = random_bits(key, stream=1, index=number, repeat=view)
                rng = np.random.Generator(bits)
            try:
                image[row], label[row] = dataset.read(number, rng)
                weight[row] = 1
            except UnreadableImageError as error:
                problems.append((number, str(error)))
    batch = {
        **({} if image is None else {"image": image}),
        "label": label,
        "index": index.astype(np.int32),
        "epoch": epoch.astype(np.int32),
        "repeat": repeat.astype(np.int32),
        "weight": weight,
    }
    return batch, problems


def _checked(
    dataset: Dataset,
    bad: "_Bad",
    make: Callable[[int], tuple[Batch, Problems]],
    start: int,
    stop: int,
    num_workers: int,
    least: int = 0,
) -> Generator[Batch]:
    """Makes the batches of the steps start … stop - 1; counts and checks them in this process."""
    if dataset.in_memory:
        made: Generator[tuple[Batch, Problems]] = (make(step) for step in range(start, stop))
    else:
        made = prefetch(make, start, stop, num_workers, dataset.describe)
    try:
        for batch, problems in made:
            bad.add(problems)
            _check_labels(dataset, batch, least)
            yield batch
        bad.finish()
    finally:
        made.close()


def _check_labels(dataset: Dataset, batch: Batch, least: int = 0) -> None:
    """Refuses a label outside the classes; on a device it would give a loss of 0 or NaN."""
    label = batch["label"]
    wrong = np.flatnonzero((label < least) | (label >= dataset.num_classes))
    if len(wrong):
        row = wrong[0]
        raise UserError(
            f"{dataset.describe(int(batch['index'][row]))} has label {label[row]}, outside the"
            f" {dataset.num_classes} classes 0 to {dataset.num_classes - 1}: correct the data",
            EXIT_BAD_DATA,
        )


class _Bad:
    """Counts the unreadable images; each counts once, even if it is read again."""

    def __init__(self, dataset: Dataset, limit: int | None):
        self.dataset = dataset
        self.limit = limit  # None in evaluation, which fails only if nothing is readable
        self.seen: set[int] = set()

    def add(self, problems: Problems) -> None:
        for index, reason in problems:
            if index in self.seen:
                continue
            self.seen.add(index)
            name = self.dataset.describe(index)
            if len(self.seen) <= NAMED:
                say_once(f"skipped unreadable image {name}: {reason}")
            if self.limit is not None and len(self.seen) > self.limit:
                raise UserError(
                    f"{len(self.seen)} of the {self.dataset.num_examples} images of"
                    f" {self.dataset.name} cannot be read, more than the {self.limit} allowed, the"
                    f" last being {name} ({reason}): repair or remove them, or raise"
                    " max_bad_fraction",
                    EXIT_BAD_DATA,
                )

    def finish(self) -> None:
        if not self.seen:
            return
        count, total = len(self.seen), self.dataset.num_examples
        if self.limit is None and count == total:
            raise UserError(
                f"not one of the {total} images of {self.dataset.name} ({self.dataset.split}) can"
                f" be read, {self.dataset.describe(0)} for example: check the files",
                EXIT_BAD_DATA,
            )
        say_once(
            f"{count} of {total} images of {self.dataset.name} ({self.dataset.split}) could not be"
            " read and were skipped"
        )
