"""Reads CIFAR-10 and CIFAR-100 from the binary archives, or from the unpacked folder.

A record is one byte per label, then 1,024 bytes each of red, green and blue. The python archives
are not read: they are pickles, which can run programs.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcnn.data.prepare.files import find, read_files
from jaxcnn.data.prepare.original import Examples, Original, arrays
from jaxcnn.errors import UserError

PIXELS = 3 * 32 * 32
HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
Files = Mapping[str, tuple[str, ...]]


def read_cifar10(source: Path) -> Original:
    """Returns CIFAR-10; see `_open`."""
    batches = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    return _open(
        source,
        name="cifar10",
        description="Photographs of 10 classes, 32x32 pixels, in colour.",
        archive="cifar-10-binary.tar.gz",
        splits={"train": batches, "test": ("test_batch.bin",)},
        names={"label": ("batches.meta.txt", 10)},
    )


def read_cifar100(source: Path) -> Original:
    """Returns CIFAR-100 with its 20 coarse and 100 fine classes; see `_open`."""
    return _open(
        source,
        name="cifar100",
        description="Photographs of 100 classes in 20 groups, 32x32 pixels, in colour.",
        archive="cifar-100-binary.tar.gz",
        splits={"train": ("train.bin",), "test": ("test.bin",)},
        names={
            "coarse_label": ("coarse_label_names.txt", 20),
            "label": ("fine_label_names.txt", 100),
        },
    )


def _open(
    source: Path,
    *,
    name: str,
    description: str,
    archive: str,
    splits: Files,
    names: Mapping[str, tuple[str, int]],
) -> Original:
    """Returns a data set from CIFAR's binary files.

    Args:
      source: archive or folder.
      name: name in TFDS.
      description: one sentence.
      archive: name of the published archive.
      splits: files of each split.
      names: for each label, in the byte order of a record, the file with its class names and the
        number of classes.

    Raises:
      UserError: if files are missing or damaged, or it is the python archive.
    """
    of_classes = [file for file, _ in names.values()]
    wanted = [file for files in splits.values() for file in files] + of_classes
    content, paths = read_files(source, wanted, archive)
    if not content:
        _refuse_pickles(source, archive)
        raise UserError(f"no files of {name} in {source}: expected {archive}, or what is in it")
    labels = {}
    for label, (file, count) in names.items():
        lines = content.get(file, b"").decode("utf-8", "replace").split()
        if len(lines) != count or len(set(lines)) != count:
            raise UserError(
                f"{file} in {source} should name {count} classes, and names {len(lines)}"
            )
        labels[label] = tuple(lines)
    readers = {}
    for split, files in splits.items():
        there = [file for file in files if file in content]
        if there:
            readers[split] = functools.partial(_split, split, content, there, labels)
    return Original(
        name=name,
        version="3.0.2",
        description=description,
        homepage=HOMEPAGE,
        image_shape=(32, 32, 3),
        encoding="",
        labels=labels,
        texts=("id",),
        published={"train": 50_000, "test": 10_000},
        splits=readers,
        files=paths,
    )


def _refuse_pickles(source: Path, archive: str) -> None:
    python = archive.replace("binary", "python")
    folders = ("cifar-10-batches-py", "cifar-100-python")
    is_python = source.name in (python, *folders)
    if not is_python and source.is_dir():
        is_python = bool(find(source, python)) or any((source / name).is_dir() for name in folders)
    if is_python:
        raise UserError(
            f"{source} is the python version, whose files are pickles, which can run code, and are"
            f" not read: download {archive} from {HOMEPAGE}"
        )


def _split(
    split: str,
    content: Mapping[str, bytes],
    files: list[str],
    labels: Mapping[str, tuple[str, ...]],
) -> Examples:
    size = len(labels) + PIXELS
    for file in files:
        if not content[file] or len(content[file]) % size:
            raise UserError(
                f"{file} has {len(content[file]):,} bytes, not a multiple of the {size:,} of a"
                " record: it is truncated or a different file; download it again"
            )
    records = np.frombuffer(b"".join(content[file] for file in files), np.uint8).reshape(-1, size)
    planes = records[:, len(labels) :].reshape(-1, 3, 32, 32)
    return arrays(
        split,
        planes.transpose(0, 2, 3, 1),
        {label: records[:, column] for column, label in enumerate(labels)},
        num_classes={label: len(names) for label, names in labels.items()},
        id_digits=5,
    )
