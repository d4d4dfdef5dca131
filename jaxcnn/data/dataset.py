"""The choice of a data set, and the type of all: numbered examples of one shape.

They are read one at a time. A dataset does not depend on batches, epochs or processes; `pipeline`
does not depend on files.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxcnn.data import contents
from jaxcnn.data.source import Source
from jaxcnn.errors import UserError

Example = tuple[np.ndarray, int]


class UnreadableImageError(Exception):
    """Raised when one image cannot be decoded; the example is skipped and the run continues."""


def _no_read(index: int, rng: np.random.Generator | None) -> Example:
    raise TypeError("a Dataset needs images and labels, or read")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    Either `images` and `labels` hold all examples, or `read` loads one example. `read(index, rng)`
    returns a uint8 image of `image_shape` and its label; `rng` drives the random crop in training
    and is None where the result must be deterministic. It raises `UnreadableImageError` if an image
    cannot be decoded. All attributes can be sent to a worker process.

    Attributes:
      name: name of the data set in messages.
      split: "train", "validation" or "test".
      num_examples: number of examples in this split.
      num_classes: labels are 0 … num_classes - 1.
      image_shape: height, width and channels of every image.
      class_names: one name per label.
      describe: index → file or record of an example, for messages.
      images: uint8 [num_examples, H, W, C], or None.
      labels: int32 [num_examples], or None.
      read: loads one example if `images` is None.
      label_of: index → label, without reading the image, if `labels` is None.
      labelled: indices, int [n], of the only examples whose labels training may use; None uses all.
      array_shape: shape of the array that `read` returns if it holds several views of an image (see
        `views`); None is `image_shape`.
      contents: description of the split's files, held-out part included, as JSON; see `contents`.
        None for data that the config determines.
      file_name: index → name of the image file that an example was, if that is known.
      source: what the images are made of; None if unknown, or different in each epoch.
      on_device: whether `images` are also on each device, where programs gather them by `index`;
        batches then have no `image`.
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
    file_name: Callable[[int], str] | None = None
    source: Source | None = None
    on_device: bool = False

    @property
    def in_memory(self) -> bool:
        """Whether `images` and `labels` hold the whole split."""
        return self.images is not None

    def subset(self, positions: np.ndarray, split: str) -> "Dataset":
        """Returns the examples at `positions` (int [m]), in that order, as the split `split`."""
        positions = np.asarray(positions)
        describe = self.describe  # not self: its arrays would stay alive
        changes: dict = {"source": self.source and self.source.subset(positions)}
        if self.file_name is not None:
            of_file = self.file_name
            changes["file_name"] = lambda index: of_file(int(positions[index]))
        if self.images is not None and self.labels is not None:
            changes |= {"images": self.images[positions], "labels": self.labels[positions]}
        else:
            read, label_of = self.read, self.label_of
            changes["read"] = lambda index, rng: read(int(positions[index]), rng)
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
      name: name of the data set in messages.
      split: "train" or "test".
      images: uint8 [n, H, W, C].
      labels: int [n], from 0.
      class_names: one name per label.

    Raises:
      UserError: if an array has another dtype or shape, or a label has no name.
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
    """Returns a Philox counter generator that depends only on its arguments.

    Args:
      key: two integers, usually the seed and the epoch.
      stream: separates the uses: 0 order, 1 crops, 2 held-out part, 3 synthetic images, 4 examples
        that keep their labels, 5 order of the unlabelled, 6 glyphs.
      index: index of the example.
      repeat: number of the example's view in one epoch.
    """
    words = np.array([value % 2**64 for value in key], dtype=np.uint64)
    # The generator counts in the lowest word, so our numbers use the other words.
    counter = np.array([0, repeat, index, stream], dtype=np.uint64)
    return np.random.Philox(key=words, counter=counter)


def random_order(count: int, bits: np.random.Philox) -> np.ndarray:
    """Returns a permutation of range(count), int64.

    It sorts raw bits instead of calling `Generator.permutation`: NumPy keeps the bits of Philox
    across versions but not the methods of Generator, and a run may resume with another NumPy.
    """
    return np.argsort(bits.random_raw(count), kind="stable")


def split_holdout(
    dataset: Dataset, split: str, holdout: int, *, labels: np.ndarray | None
) -> Dataset:
    """Splits all examples into "train" and a held-out split, the same in every run.

    Args:
      dataset: all training examples.
      split: "train", or the name of the held-out split.
      holdout: number of examples to hold out; 0 leaves the training split whole.
      labels: int [num_examples] to draw from every class in proportion; None ignores classes.

    Raises:
      UserError: if nothing is held out, or too few examples are left in either split.
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
    """Splits the parts of a training split into "train" and "validation", class by class.

    It stops reading labels when enough examples are found.

    Args:
      dataset: all training examples.
      split: "train" or "validation".
      counts: number of examples per class to hold out of each part; the same ones in every run.
      starts: index of the first example of each part, then the number of all examples.
      label_of: index → label.

    Raises:
      UserError: if there is not one count per part, or a class has too few examples.
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
      count: number of labels, equally many of each class.
      seed: seed of the draw.

    Raises:
      UserError: if the classes cannot have equally many labels, or have too few.
    """
    classes = dataset.num_classes
    each, rest = divmod(count, classes)
    if each < 1 or rest:
        raise UserError(
            f"labelled={count} is not the same number of each of the {classes} classes of"
            f" {dataset.name}: make it a multiple of {classes}"
        )
    labels = all_labels(dataset, "labelled=0")
    order = random_order(dataset.num_examples, random_bits((seed, 0), stream=4))
    drawn = first_of_each_class(order, labels, classes, each)
    label = int(np.argmin([len(positions) for positions in drawn]))
    if len(drawn[label]) < each:
        raise UserError(
            f"labelled={count} needs {each} examples of each class and {dataset.name} has"
            f" {len(drawn[label])} of class {dataset.class_names[label]}: make it"
            f" {len(drawn[label]) * classes} or less"
        )
    return dataclasses.replace(dataset, labelled=np.sort(np.concatenate(drawn)))


def first_of_each_class(
    order: np.ndarray, labels: np.ndarray, num_classes: int, count: int
) -> list[np.ndarray]:
    """Returns the indices of the first examples of each class; fewer if there are not so many.

    Args:
      order: int [n], a permutation of the examples.
      labels: int [n].
      num_classes: K.
      count: of each class.
    """
    return [order[labels[order] == label][:count] for label in range(num_classes)]


def all_labels(dataset: Dataset, instead: str) -> np.ndarray:
    """Returns the labels of all examples, int [num_examples].

    Args:
      dataset: any split.
      instead: what to set if the labels cannot be read without the images, for the error message.

    Raises:
      UserError: if they cannot.
    """
    if dataset.labels is not None:
        return dataset.labels
    if dataset.label_of is None:
        raise UserError(f"the labels of {dataset.name} cannot be read alone: set {instead}")
    return np.array([dataset.label_of(index) for index in range(dataset.num_examples)])


def class_counts(dataset: Dataset) -> np.ndarray:
    """Returns the number of examples of each class whose labels training may use, int [K].

    Raises:
      UserError: if the labels cannot be read without the images.
    """
    labels = all_labels(dataset, "loss.class_weights to one number for each class")
    used = labels if dataset.labelled is None else labels[dataset.labelled]
    return np.bincount(used, minlength=dataset.num_classes)
