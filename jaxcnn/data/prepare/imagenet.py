"""Reads ILSVRC2012 from its two tar files, without unpacking them.

The training tar holds a tar per class, named after its WordNet id; classes are numbered by their
sorted ids. The validation labels come from the devkit if it is there, otherwise from a list that
TFDS ships.
"""

import functools
import io
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

import numpy as np

from jaxcnn.data.images.decode import IMAGE_BYTES
from jaxcnn.data.prepare import photos
from jaxcnn.data.prepare.files import check_source, damaged, find, read_archive
from jaxcnn.data.prepare.mat import read_mat
from jaxcnn.data.prepare.original import BadRecordError, Examples, Original
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import open_regular, read_bytes

TRAIN = "ILSVRC2012_img_train.tar"
VALIDATION = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
META_BYTES = 64 << 20  # decompressed; the file has 2 MB
HEADER_BYTES = 1 << 20  # of a tar member
IDS_IN_ORDER = "validation_labels.txt"
ARCHIVES = {"validation": VALIDATION, "train": TRAIN}  # the smaller one first
PUBLISHED = {"train": 1_281_167, "validation": 50_000}


class Member(NamedTuple):
    """A file in a tar: last part of its name, offset, size and class."""

    name: str
    offset: int
    size: int
    label: int


def read_imagenet(source: Path) -> Original:
    """Returns ILSVRC2012.

    Args:
      source: folder of the tars, optionally with the devkit or validation_labels.txt, which has the
        WordNet id of every validation image, one per line.

    Raises:
      UserError: if a tar is missing, or the devkit is not the published one.
    """
    check_source(source)
    if source.is_file():
        raise UserError(f"{source} is a file: set --source to the folder of {TRAIN}, {VALIDATION}")
    paths = {split: find(source, archive) for split, archive in ARCHIVES.items()}
    classes = _shipped("labels.txt")
    numbers = {wnid: number for number, wnid in enumerate(classes)}
    splits = {}
    if path := paths["validation"]:
        labels, of_labels = validation_labels(source, numbers)
        splits["validation"] = functools.partial(_validation, path, labels)
    else:
        of_labels = []
    if path := paths["train"]:
        splits["train"] = functools.partial(_train, path, numbers)
    if not splits:
        raise UserError(f"no files of imagenet2012 in {source}: expected {TRAIN} and {VALIDATION}")
    return Original(
        name="imagenet2012",
        version="5.1.0",
        description="Photographs of the 1,000 classes of ILSVRC2012.",
        homepage="https://image-net.org/",
        image_shape=(None, None, 3),
        encoding="jpeg",
        labels={"label": classes},
        texts=("file_name",),
        published=PUBLISHED,
        splits=splits,
        files=[path for path in (*paths.values(), *of_labels) if path],
    )


def validation_labels(source: Path, numbers: Mapping[str, int]) -> tuple[Sequence[int], list[Path]]:
    """Returns the label of every validation image, 0 to 999, and the files they come from.

    Raises:
      UserError: if a file is damaged, incomplete or names other classes.
    """
    if path := find(source, IDS_IN_ORDER):
        return _by_id(_content(path).decode("utf-8", "replace").split(), numbers, path), [path]
    truth, meta, archive = (find(source, name) for name in (GROUND_TRUTH, META, DEVKIT))
    if truth and meta:
        return _by_devkit(_content(truth), _content(meta), numbers, truth), [truth, meta]
    if archive:
        content = read_archive(archive, (GROUND_TRUTH, META))
        if len(content) < 2:
            raise UserError(f"{archive} has no {GROUND_TRUTH} and {META}: download it again")
        return _by_devkit(content[GROUND_TRUTH], content[META], numbers, archive), [archive]
    return _by_id(_shipped(IDS_IN_ORDER), numbers, Path(IDS_IN_ORDER)), []


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, META_BYTES)
    except OSError as error:
        raise damaged(path, error) from error


def _shipped(name: str) -> tuple[str, ...]:
    import tensorflow_datasets as tfds

    path = Path(tfds.core.tfds_path("datasets/imagenet2012")) / name
    return tuple(path.read_text(encoding="utf-8").split())


def _by_id(wnids: Sequence[str], numbers: Mapping[str, int], path: Path) -> list[int]:
    unknown = [wnid for wnid in wnids if wnid not in numbers]
    if unknown:
        raise UserError(f"{path}: {unknown[0]!r} is none of the 1,000 classes of ILSVRC2012")
    return [numbers[wnid] for wnid in wnids]


def _by_devkit(truth: bytes, meta: bytes, numbers: Mapping[str, int], path: Path) -> list[int]:
    """Returns labels from the devkit, which numbers classes 1 to 1000 in the order of meta.mat."""
    try:
        synsets = read_mat(io.BytesIO(meta), META_BYTES)["synsets"]
        wnids = {
            int(np.ravel(synset["ILSVRC2012_ID"])[0]): synset["WNID"]
            for synset in synsets
            if synset["WNID"] in numbers
        }
        found = [int(line) for line in truth.split()]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged(path, error) from error
    unknown = sorted(set(found) - set(wnids))
    if unknown:
        raise UserError(f"{path}: {unknown[0]} is none of the classes that {META} numbers")
    return [numbers[wnids[number]] for number in found]


def _validation(path: Path, labels: Sequence[int]) -> Examples:
    members = []
    with open_regular(path) as file:
        for name, offset, size in _members(file, path):
            number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", name)
            if not number:
                raise UserError(f"{path} has a file {name}, which is none of the validation images")
            index = int(number[1]) - 1
            if not 0 <= index < len(labels):
                raise UserError(f"{path}: there is no label for {name}, only for {len(labels):,}")
            members.append(Member(name, offset, size, labels[index]))
    return _examples(path, members)


def _train(path: Path, numbers: Mapping[str, int]) -> Examples:
    members = []
    with open_regular(path) as file:
        for archive, start, size in _members(file, path):
            wnid = archive.removesuffix(".tar")
            if wnid not in numbers:
                raise UserError(f"{path} has a file {archive}, which is none of the 1,000 classes")
            file.seek(start)
            for name, offset, length in _members(file, path, end=start + size):
                if not name.startswith(f"{wnid}_") or not name.isprintable():
                    raise UserError(f"{archive} in {path} has a file {name!r} of another class")
                members.append(Member(name, offset, length, numbers[wnid]))
    return _examples(path, members)


def _members(file: IO[bytes], path: Path, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Yields last name, offset and size of the files in an uncompressed tar, from its headers.

    Args:
      file: the file, positioned at the beginning of the tar.
      path: path for messages.
      end: offset in the file where the tar ends, if it is not the end of the file.
    """
    inner = end is not None
    end = end or path.stat().st_size
    after = 0
    try:
        with tarfile.open(fileobj=cast(IO[bytes], Headers(file)), mode="r:") as tar:
            # Bytes past `end` belong to the outer tar.
            while (member := tar.next()) is not None and member.offset < end:
                after = (
                    member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                )
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(f"{path} has a file {member.name!r}, outside the archive")
                if member.isdir():
                    continue
                if not member.isreg() or member.offset_data + member.size > end:
                    raise tarfile.ReadError(f"{member.name} is no file, or goes past the end")
                yield name.name, member.offset_data, member.size
        file.seek(after)
        if not inner and file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end")
    except UserError:
        raise
    except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise damaged(path, error) from error


class Headers:
    """A file that reads only headers, and refuses headers that would fill the memory."""

    def __init__(self, file: IO[bytes]):
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Returns the next bytes.

        Raises:
          tarfile.ReadError: if more bytes are requested than a header has.
        """
        if size > HEADER_BYTES:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        return self._file.read(size)


def _examples(path: Path, members: list[Member]) -> Examples:
    def describe(index: int) -> str:
        return f"{members[index].name} in {path.name}"

    def read(index: int) -> dict[str, Any]:
        member = members[index]
        if member.size > IMAGE_BYTES:
            raise BadRecordError(f"it has {member.size:,} bytes, more than an image may have")
        with path.open("rb", buffering=0) as file:  # threads need their own position
            file.seek(member.offset)
            data = file.read(member.size)
        if len(data) != member.size:
            raise BadRecordError("the archive ends before it")
        return {"file_name": member.name, "image": photos.as_jpeg(data), "label": member.label}

    return Examples(
        keys=[member.name for member in members],
        read=read,
        describe=describe,
        num_bytes=sum(member.size for member in members),
    )
