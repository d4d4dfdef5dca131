"""Keeps the decoded images of a split in a file, so that they are decoded once.

  CACHE/KEY.images   uint8 [n, H, W, C], then the labels, int32 [n], little-endian
  CACHE/KEY.json     its record, written last: name, split, shapes, SHA-256
  CACHE/KEY.lock     locked while a process decodes

KEY is a digest of the content of all files that the split is read from, and of all that decides
which pixels are made of them. The file is verified by its SHA-256 whenever it is opened, and mapped
into memory; the pages are shared with other runs.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.dataset import Dataset, UnreadableImageError
from jaxcnn.data.prefetch import Problems, prefetch
from jaxcnn.data.source import Source
from jaxcnn.data.worker import note
from jaxcnn.errors import UserError, printable
from jaxcnn.io import append, atomic, paths, progress, safe_files
from jaxcnn.io.lock import wait_for_lock

LARGEST = 2 << 30  # bytes of the decoded images of a split, and of its files, for "auto"
LARGEST_FOLDER = 10 << 30  # bytes of all entries; the least recently used ones are removed
FORMAT = 1
ROWS = 256  # examples decoded at a time
MANY = 4096  # examples that are worth starting worker processes
CHUNK = 1 << 20  # bytes
RECORD_BYTES = 64 << 10
_LABEL = np.dtype("<i4")
_log = logging.getLogger("jaxcnn")


class _UnreadableError(Exception):
    """Raised when an image cannot be decoded: a cache could not report it in every epoch."""


def keep(dataset: Dataset, place: str = "auto", *, num_workers: int = 0) -> Dataset:
    """Returns the split with `images` and `labels` in memory, the same that `read` returns.

    They are decoded once and found again by later runs. The split is returned unchanged if it is
    in memory already, or:

    - `place` is "none";
    - it does not say what its images are made of (`Dataset.source`): random crops, views, a
      function of the user's own;
    - `place` is "auto" and it is larger than `LARGEST`;
    - an image is unreadable, which is logged.

    If the cache folder cannot be written, the images are only kept in memory.

    Args:
      dataset: a split.
      place: see `CacheConfig`; "device" differs from "memory" only for the caller.
      num_workers: processes that decode; 0 chooses a number.

    Raises:
      UserError: if `place` is "memory" or "device" and the images differ from epoch to epoch.
    """
    if place == "none" or dataset.in_memory:
        return dataset
    source = dataset.source
    if source is None:
        if place == "auto":
            return dataset
        raise UserError(
            f"data.cache={place}: the images of {dataset.name} ({dataset.split}) are not kept,"
            " because a random crop changes them in every epoch, or they come from no files; set"
            " data.cache to auto or none, or data.train_crop to resize, frame or none"
        )
    if place == "auto" and (_bytes_of(dataset) > LARGEST or _size(source.files()) > LARGEST):
        return dataset
    try:
        images, labels = _found_or_made(dataset, source, num_workers)
    except _UnreadableError as error:
        _log.warning(
            "%s (%s) is decoded anew in every epoch, because of an unreadable image: %s",
            *map(printable, (dataset.name, dataset.split, str(error))),
        )
        return dataset
    return dataclasses.replace(dataset, images=images, labels=labels)


def _bytes_of(dataset: Dataset) -> int:
    return dataset.num_examples * math.prod(dataset.image_shape)


def _size(files: dict[str, str]) -> int:
    total = 0
    for path in files.values():
        try:
            total += os.stat(path).st_size
        except OSError:  # reported when the file is read
            continue
    return total


def folder() -> Path | None:
    """Returns the folder of all entries; None if this user can write none."""
    return paths.cache_folder("data")


def _found_or_made(
    dataset: Dataset, source: Source, num_workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 [n, H, W, C] and labels int32 [n].

    Raises:
      _UnreadableError: if an image is unreadable.
    """
    root = folder()
    if root is None:
        return _decoded_in_memory(dataset, num_workers)
    path = root / f"{_key(dataset, source)}.images"
    if found := _open(path, dataset):
        return found
    what = f"decoding {dataset.name} ({dataset.split})"
    try:
        with append.open_append(path.with_suffix(".lock")) as lock:
            wait_for_lock(lock, lambda: progress.say(f"waiting for another process: {what}"))
            found = _open(path, dataset)
            if not found:
                _make_room(root, _bytes_of(dataset))
                for left in root.glob(f"{path.name}.*"):  # by a process that was killed
                    left.unlink(missing_ok=True)
                _write(path, dataset, num_workers)
                found = _open(path, dataset)
            if found:
                return found
    except OSError as error:
        _log.warning(
            "%s: not kept in %s (%s), so the next run decodes it again",
            printable(what),
            root,
            error.strerror or error,
        )
    return _decoded_in_memory(dataset, num_workers)


def _key(dataset: Dataset, source: Source) -> str:
    """Returns 40 hexadecimal digits."""
    import PIL

    files = source.files()
    with (
        progress.progress(f"reading {dataset.name} ({dataset.split})", "files") as show,
        ThreadPoolExecutor() as pool,
    ):
        digests = []
        for name, digest in zip(files, pool.map(_sha256, files.values()), strict=True):
            digests.append((name, digest))
            show(len(digests), len(files))
    described = [FORMAT, PIL.__version__, dataset.image_shape, dataset.num_examples]
    text = json.dumps([*described, source.made, digests])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with safe_files.open_regular(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:  # an unreadable image
        return ""
    return digest.hexdigest()


def _open(path: Path, dataset: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the arrays of an entry if it is there and intact."""
    record_path = path.with_suffix(".json")
    shape = (dataset.num_examples, *dataset.image_shape)
    try:
        record = safe_files.read_json(record_path, RECORD_BYTES)
        with safe_files.open_regular(path) as file:
            if os.fstat(file.fileno()).st_size != math.prod(shape) + shape[0] * _LABEL.itemsize:
                raise ValueError("its size is wrong")
            both = np.memmap(file, np.uint8, mode="r")
        if not isinstance(record, dict) or hashlib.sha256(both).hexdigest() != record["sha256"]:
            raise ValueError("its content is wrong")
        os.utime(record_path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        _log.warning("%s is damaged (%s) and is made again", path, error)
        return None
    images, labels = np.split(both, [math.prod(shape)])
    return images.reshape(shape), labels.view(_LABEL).astype(np.int32)


def _write(path: Path, dataset: Dataset, num_workers: int) -> None:
    """Decodes a split into an entry.

    Raises:
      OSError: if it cannot be written.
      _UnreadableError: if an image is unreadable.
    """
    digest = hashlib.sha256()
    labels = []
    # Written, not mapped: a full disk is an error of `write`, and kills the process in a map.
    with atomic.replaced_file(path, durable=True) as file:
        for image, label in _decoded(dataset, num_workers):
            labels.append(label)
            digest.update(image)
            file.write(image)
        ending = np.concatenate(labels).astype(_LABEL)
        digest.update(ending)
        file.write(ending)
    record = {
        "name": dataset.name,
        "split": dataset.split,
        "examples": dataset.num_examples,
        "image_shape": dataset.image_shape,
        "sha256": digest.hexdigest(),
    }
    with atomic.replaced_file(path.with_suffix(".json"), durable=True) as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())


def _decoded_in_memory(dataset: Dataset, num_workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the arrays of a split without an entry; see `_found_or_made`."""
    images = np.empty((dataset.num_examples, *dataset.image_shape), np.uint8)
    labels = np.empty(dataset.num_examples, np.int32)
    done = 0
    for image, label in _decoded(dataset, num_workers):
        rows = slice(done, done + len(label))
        images[rows], labels[rows] = image, label
        done += len(label)
    return images, labels


def _decoded(dataset: Dataset, num_workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images uint8 [m, H, W, C] and labels int32 [m], in order."""
    steps = -(-dataset.num_examples // ROWS)
    if not num_workers and dataset.num_examples >= MANY:
        num_workers = min(os.cpu_count() or 1, 8)
    made = prefetch(partial(_rows, dataset), 0, steps, num_workers, dataset.describe)
    done, title = 0, f"decoding {dataset.name} ({dataset.split}), once"
    try:
        with progress.progress(title, "images") as show:
            for arrays, problems in made:
                if problems:
                    index, reason = problems[0]
                    raise _UnreadableError(f"{dataset.describe(index)}: {reason}")
                done += len(arrays["label"])
                show(done, dataset.num_examples)
                yield arrays["image"], arrays["label"]
    finally:
        made.close()


def _rows(dataset: Dataset, step: int) -> tuple[dict[str, np.ndarray], Problems]:
    """Reads the examples step * ROWS and following, as training or evaluation reads them."""
    indices = range(step * ROWS, min((step + 1) * ROWS, dataset.num_examples))
    image = np.zeros((len(indices), *dataset.image_shape), np.uint8)
    label = np.zeros(len(indices), np.int32)
    problems: Problems = []
    for row, index in enumerate(indices):
        note(index)
        rng = np.random.default_rng(0) if dataset.split == "train" else None  # draws nothing
        try:
            image[row], label[row] = dataset.read(index, rng)
        except UnreadableImageError as error:
            problems.append((index, str(error)))
            break
    return {"image": image, "label": label}, problems


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of the cache folder.

    Attributes:
      path: path of its images.
      size: bytes.
      used: time of the last use, seconds since the epoch.
      title: "mnist (train), 60,000 images", or "" without a record.
    """

    path: Path
    size: int
    used: float
    title: str


def entries(root: Path) -> list[Entry]:
    """Returns the entries of a cache folder, the least recently used first."""
    found = []
    for path in root.glob("*.images"):
        record_path = path.with_suffix(".json")
        try:
            size = path.stat().st_size
            used = (record_path if record_path.exists() else path).stat().st_mtime
        except OSError:  # removed meanwhile
            continue
        found.append(Entry(path, size, used, _title(record_path)))
    return sorted(found, key=lambda entry: entry.used)


def _title(record_path: Path) -> str:
    try:
        record: Any = safe_files.read_json(record_path, RECORD_BYTES)
        return f"{record['name']} ({record['split']}), {record['examples']:,} images"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def remove(entry: Entry) -> None:
    """Removes an entry; runs that have it open keep their images.

    Raises:
      OSError: if a file cannot be removed.
    """
    for suffix in (".json", ".images", ".lock"):
        entry.path.with_suffix(suffix).unlink(missing_ok=True)


def _make_room(root: Path, size: int) -> None:
    """Removes the least recently used entries until `size` more bytes fit the folder."""
    known = entries(root)
    total = size + sum(entry.size for entry in known)
    for entry in known:
        if total <= LARGEST_FOLDER:
            return
        remove(entry)
        total -= entry.size
