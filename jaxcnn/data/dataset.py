"""What every kind of data set becomes: numbered examples of one shape, read one at a time.

A dataset knows nothing about batches, epochs or processes; `pipeline` knows nothing about files.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxcnn.data import contents
from jaxcnn.errors import UserError

Example = tuple[np.ndarray, int]


class UnreadableImageError(Exception):
    """One image cannot be decoded; the message says why. It costs that example, not the run."""


def _no_read(index: int, rng: np.random.Generator | None) -> Example:
    raise TypeError("a Dataset needs images and labels, or read")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    Either `images` and `labels` hold everything, or `read` fetches one example. In the second
    case `read(index, rng)` returns a uint8 image of `image_shape` and its label; `rng` drives the
    random crop of training and is None where the result must not depend on chance. It raises
    `UnreadableImageError` for an image that cannot be decoded. Everything here can be sent to a
    worker process.

    Attributes:
      name: what messages call the data set.
      split: "train", "validation" or "test".
      num_examples: examples in this split.
      num_classes: labels are 0 … num_classes - 1.
      image_shape: height, width and channels of every image.
      class_names: one for each label.
      describe: the file or record of an example, for messages.
      images: uint8 [num_examples, H, W, C], or None.
      labels: int32 [num_examples], or None.
      read: fetches one example where `images` is None.
      label_of: the label of one example, without its image, where `labels` is None.
      labelled: positions, int [n], of the only examples whose labels training may use; None: all.
      array_shape: of what `read` returns, where that is several views of an image in one array (see
        `views`); None is `image_shape`.
      contents: description of the split's files, held-out part included, as JSON; see `contents`.
        None where they are always the same, as the config has them.
    """

    name: str
    split: str
    num_examples: int
    num_classes: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    describe: Callable[[int], str]
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    read: Callable[[int, np.random.Generator | None], Example] = _no_read
    label_of: Callable[[int], int] | None = None
    labelled: np.ndarray | None = None
    array_shape: tuple[int, ...] | None = None
    contents: Callable[[], dict[str, Any]] | None = None

    @property
    def in_memory(self) -> bool:
        """True if the whole split lies in `images` and `labels`."""
        return self.images is not None

    def subset(self, positions: np.ndarray, split: str) -> "Dataset":
        """Returns the examples at `positions` (int [m]), in that order, as the split `split`."""
        positions = np.asarray(positions)
        describe = self.describe  # not self, whose arrays the new dataset would then keep alive
        changes: dict = {}
        if self.images is not None and self.labels is not None:
            changes = {"images": self.images[positions], "labels": self.labels[positions]}
        else:
            read, label_of = self.read, self.label_of
            changes = {"read": lambda index, rng: read(int(positions[index]), rng)}
            if label_of is not None:
                of_whole = label_of
                changes["label_of"] = lambda index: of_whole(int(positions[index]))
        return dataclasses.replace(
            self,
            split=split,
            num_examples=len(positions),
            describe=lambda index: describe(int(positions[index])),
            labelled=None,
            **changes,
        )


def from_arrays(
    name: str, split: str, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Dataset:
    """Returns a split whose images and labels are arrays in memory.

    Args:
      name: of the data set, for messages.
      split: "train" or "test".
      images: uint8 [n, H, W, C].
      labels: int [n], from 0.
      class_names: one for each label.

    Raises:
      UserError: arrays of another type or shape, or a label without a name.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise UserError(
            f"images of {name} are {images.dtype} {images.shape}: give uint8 [n, H, W, C], n > 0"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise UserError(
            f"labels of {name} are {labels.dtype} {labels.shape}: give one whole number for each"
            f" of the {len(images):,} images"
        )
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= len(class_names):
        raise UserError(
            f"labels of {name} are {least} to {most}: its {len(class_names)} classes are 0 to"
            f" {len(class_names) - 1}"
        )
    labels, names = labels.astype(np.int32), tuple(class_names)
    return Dataset(
        name=name,
        split=split,
        num_examples=len(images),
        num_classes=len(names),
        image_shape=images.shape[1:],
        class_names=names,
        describe=lambda index: f"{split} example {index} of {name}",
        images=images,
        labels=labels,
        contents=lambda: contents.of_arrays(images, labels, names),
    )


def random_bits(
    key: tuple[int, int], *, stream: int = 0, index: int = 0, repeat: int = 0
) -> np.random.Philox:
    """Returns a Philox counter generator that depends on its arguments alone.

    Args:
      key: two integers, usually the seed and the epoch.
      stream: keeps the uses apart: 0 order, 1 crops, 2 held-out part, 3 synthetic images, 4 which
        examples keep their labels, 5 order of the unlabelled.
      index: the example.
      repeat: which of its views in one epoch.
    """
    words = np.array([value % 2**64 for value in key], dtype=np.uint64)
    # The generator itself counts in the lowest word; ours stay out of its reach.
    counter = np.array([0, repeat, index, stream], dtype=np.uint64)
    return np.random.Philox(key=words, counter=counter)


def random_order(count: int, bits: np.random.Philox) -> np.ndarray:
    """Returns a permutation of range(count), int64.

    Sorting raw bits instead of `Generator.permutation`: NumPy keeps the bits of Philox the same
    in all versions but not the methods of Generator, and a resumed run may meet another NumPy.
    """
    return np.argsort(bits.random_raw(count), kind="stable")


def split_holdout(
    dataset: Dataset, split: str, holdout: int, *, labels: np.ndarray | None
) -> Dataset:
    """Divides all examples into "train" and a held-out split.

    Args:
      dataset: all training examples.
      split: "train", or the name of the held-out split.
      holdout: how many examples to hold out; 0 leaves the training split whole.
      labels: int [num_examples] to draw every class in proportion; None draws without regard to
        class. The division is the same in every run.

    Raises:
      UserError: there is no validation part, or it leaves too little on either side.
    """
    if holdout == 0 and split == "train":
        return dataset
    if holdout == 0:
        raise UserError(
            f"{dataset.name} has no validation split: nothing is held out of the training examples;"
            " set holdout to the number of examples to hold out"
        )
    least = dataset.num_classes if labels is not None else 1
    if not least <= holdout <= dataset.num_examples - least:
        raise UserError(
            f"holdout={holdout} does not fit {dataset.name}: of {dataset.num_examples} training"
            f" examples hold out {least} to {dataset.num_examples - least}"
        )
    if labels is None:
        order = random_order(dataset.num_examples, random_bits((0, 0), stream=2))
        kept, held = np.sort(order[holdout:]), np.sort(order[:holdout])
    else:
        from sklearn.model_selection import train_test_split

        try:
            kept, held = train_test_split(
                np.arange(dataset.num_examples), test_size=holdout, stratify=labels, random_state=0
            )
        except ValueError as error:  # a class with a single example
            raise UserError(
                f"cannot hold {holdout} examples out of {dataset.name} class by class: {error}"
            ) from None
    return dataset.subset(kept if split == "train" else held, split)


def hold_out_classes(
    dataset: Dataset,
    split: str,
    counts: Sequence[int],
    *,
    starts: Sequence[int],
    label_of: Callable[[int], int],
) -> Dataset:
    """Divides a training split of several parts into "train" and "validation", class by class.

    Only as many labels are read as it takes to find the examples.

    Args:
      dataset: all training examples.
      split: "train" or "validation".
      counts: how many of each class to hold out of each part. Which is the same in every run.
      starts: the parts: position of the first example of each, and behind the last one.
      label_of: the label of one example.

    Raises:
      UserError: counts of other parts, or more than a class has.
    """
    if len(counts) != len(starts) - 1:
        raise UserError(
            f"holdout_per_class={tuple(counts)} has {len(counts)} numbers and the training split of"
            f" {dataset.name} {len(starts) - 1} parts: give one for each"
        )
    held = []
    for number, (count, start, end) in enumerate(zip(counts, starts, starts[1:], strict=False)):
        missing = [count] * dataset.num_classes
        for position in start + random_order(end - start, random_bits((0, number), stream=2)):
            if not any(missing):
                break
            label = label_of(int(position))
            if 0 <= label < dataset.num_classes and missing[label] > 0:
                missing[label] -= 1
                held.append(int(position))
        if any(missing):
            rare = int(np.argmax(missing))
            raise UserError(
                f"holdout_per_class={tuple(counts)}: part {number + 1} of {dataset.name} has only"
                f" {count - missing[rare]} examples of class {dataset.class_names[rare]}"
            )
    positions = np.sort(np.array(held, np.int64))
    if split == "train":
        positions = np.setdiff1d(np.arange(dataset.num_examples), positions)
    return dataset.subset(positions, split)


def keep_labels(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Returns the same examples; training may use the labels of only `count` of them.

    Args:
      dataset: a training split.
      count: equally many of each class are drawn.
      seed: decides which.

    Raises:
      UserError: if the classes cannot have equally many, or not that many.
    """
    classes = dataset.num_classes
    each, rest = divmod(count, classes)
    if each < 1 or rest:
        raise UserError(
            f"labelled={count} is not the same number of each of the {classes} classes of"
            f" {dataset.name}: make it a multiple of {classes}"
        )
    labels = dataset.labels
    if labels is None:
        if dataset.label_of is None:
            raise UserError(f"the labels of {dataset.name} cannot be read alone: set labelled=0")
        labels = np.array([dataset.label_of(index) for index in range(dataset.num_examples)])
    order = random_order(dataset.num_examples, random_bits((seed, 0), stream=4))
    drawn = [order[labels[order] == label][:each] for label in range(classes)]
    label = int(np.argmin([len(positions) for positions in drawn]))
    if len(drawn[label]) < each:
        raise UserError(
            f"labelled={count} needs {each} examples of each class and {dataset.name} has"
            f" {len(drawn[label])} of class {dataset.class_names[label]}: make it"
            f" {len(drawn[label]) * classes} or less"
        )
    return dataclasses.replace(dataset, labelled=np.sort(np.concatenate(drawn)))
