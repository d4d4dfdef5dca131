"""What every reader of original files gives: numbered records, and how to read one of them."""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = tuple("0123456789")


class BadRecordError(Exception):
    """One record cannot be used; the message says why. The others are not affected."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of the original files.

    Attributes:
      keys: one for each example, all different; what TFDS orders them by.
      read: the features of the example at a position, its image encoded. Called by several threads;
        raises `BadRecordError` or OSError.
      describe: the file or record of an example, for messages.
      num_bytes: of all images, encoded; a guess where they are not yet.
    """

    keys: Sequence[int | str]
    read: Callable[[int], dict[str, Any]]
    describe: Callable[[int], str]
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Original:
    """A data set before it is prepared.

    Attributes:
      name: as in TFDS.
      version: as in TFDS.
      description: one sentence.
      homepage: where it is from; "" if nowhere.
      image_shape: height, width, channels; None where they differ.
      encoding: "jpeg" if all images are; "" if they may be anything else.
      labels: the class names of every label.
      texts: the names of features that are text.
      published: how many examples the splits have; none where that is not known beforehand.
      splits: reads a split, or no more than its table of contents.
      files: the files that it consists of, for a run that goes on to see that they are the same.
    """

    name: str
    version: str
    description: str
    homepage: str
    image_shape: tuple[int | None, int | None, int]
    encoding: str
    labels: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...]
    published: Mapping[str, int]
    splits: Mapping[str, Callable[[], Examples]]
    files: Iterable[Path]

    def fingerprint(self) -> str:
        """Returns a digest of the files' names, sizes and times, and of the classes."""
        digest = hashlib.sha256(repr((self.name, self.version, dict(self.labels))).encode())
        for path in self.files:
            status = path.stat()
            digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def arrays(
    split: str,
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    *,
    num_classes: Mapping[str, int],
    id_digits: int = 0,
) -> Examples:
    """Returns examples that lie in memory, to be encoded as PNG; their keys are their numbers.

    Args:
      split: its name.
      images: uint8 [n, H, W] or [n, H, W, 3].
      labels: integers [n] of each label.
      num_classes: of each label.
      id_digits: of the feature "id", "train_00017" for example; 0: there is none.
    """

    def describe(index: int) -> str:
        return f"{split} record {index}"

    def read(index: int) -> dict[str, Any]:
        values: dict[str, Any] = {"image": to_png(images[index])}
        for name, numbers in labels.items():
            values[name] = int(numbers[index])
            if not 0 <= values[name] < num_classes[name]:
                raise BadRecordError(f"{name} {values[name]} is not 0 to {num_classes[name] - 1}")
        if id_digits:
            values["id"] = f"{split}_{index:0{id_digits}}"
        return values

    # Photographs take about two thirds of their pixels, drawings less.
    return Examples(range(len(images)), read, describe, num_bytes=images.nbytes // 2)


def to_png(image: np.ndarray) -> bytes:
    """Returns uint8 [H, W] or [H, W, 3] as a PNG file."""
    import PIL.Image

    stream = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return stream.getvalue()
