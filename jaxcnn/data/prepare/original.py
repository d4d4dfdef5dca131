"""The result of every reader of original files: numbered records with a read function."""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = tuple("0123456789")


class BadRecordError(Exception):
    """Raised when one record is not usable; other records are not affected."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of the original files.

    Attributes:
      keys: one key per example, all different, which determine the order in TFDS.
      read: index → features of an example, with its encoded image. Called by several threads;
        raises `BadRecordError` or OSError.
      describe: index → file or record of an example, for messages.
      num_bytes: total size of all encoded images; an estimate if they are not encoded yet.
    """

    keys: Sequence[int | str]
    read: Callable[[int], dict[str, Any]]
    describe: Callable[[int], str]
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Original:
    """A data set before it is prepared.

    Attributes:
      name: name in TFDS.
      version: version in TFDS.
      description: one sentence.
      homepage: URL of the source; "" if there is none.
      image_shape: height, width, channels; None if they differ.
      encoding: "jpeg" if all images are JPEGs; "" otherwise.
      labels: class names of every label.
      texts: names of the text features.
      published: number of examples per split; empty if it is not known beforehand.
      splits: functions that read a split, or only its table of contents.
      files: files of the data set; a continued run checks that they are the same.
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
    """Returns examples in memory, to be encoded as PNG; their keys are their numbers.

    Args:
      split: name of the split.
      images: uint8 [n, H, W] or [n, H, W, 3].
      labels: integers [n] of each label.
      num_classes: number of classes of each label.
      id_digits: number of digits of the feature "id", "train_00017" for example; 0 for no "id".
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

    # Photographs compress to about two thirds of their pixels, drawings to less.
    return Examples(range(len(images)), read, describe, num_bytes=images.nbytes // 2)


def to_png(image: np.ndarray) -> bytes:
    """Returns uint8 [H, W] or [H, W, 3] as a PNG file."""
    import PIL.Image

    stream = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return stream.getvalue()
