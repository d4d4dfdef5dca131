"""Reads image files that belong to no data set: given by name, or found below folders."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images import listing
from jaxcnn.data.images.decode import IMAGE_BYTES, READ
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import UserError, printable
from jaxcnn.io.safe_files import read_bytes

THREADS = 4  # Pillow decodes without the interpreter's lock
NAMED = 10  # unreadable files listed in a message

_log = logging.getLogger("jaxcnn")


class ImageFiles(NamedTuple):
    """Paths of image files.

    Attributes:
      files: existing files, not yet checked.
      problems: name and reason for each path without images.
    """

    files: list[Path]
    problems: list[tuple[str, str]]


def find_images(paths: Sequence[Path]) -> ImageFiles:
    """Returns the given files and the images below given folders, sorted, without hidden ones.

    Files below a folder are selected by `listing`, as in training. Files that are given by name are
    always returned; `map_images` reports errors in them.

    Raises:
      UserError: if no path leads to a file; a single wrong path does not stop the others.
    """
    found: list[Path] = []
    problems: list[tuple[str, str]] = []
    for path in paths:
        if not os.path.isdir(path):
            if not os.path.lexists(path):
                problems.append((printable(path), "there is no such file or folder"))
            else:
                found.append(path)
            continue
        try:
            below = listing.list_images(path)
        except UserError as error:
            problems.append((printable(path), str(error)))
            continue
        listing.say_left_out(path, below.left_out, below.special)
        if not below.files:
            reason = f"no file in this folder has the ending of an image ({READ})"
            problems.append((printable(path), reason))
        found += [path / name for name in below.files]
    if not found:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in problems[:NAMED]))
    return ImageFiles(list(dict.fromkeys(found)), problems)


def map_images(
    function: Callable[[np.ndarray], Any],
    files: Sequence[Path],
    cropper: Cropper,
    batch_size: int,
) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Yields each file with its row of the function's output, in order.

    For an unreadable file it yields the reason, a text. The next batch is decoded while the
    function computes.

    Args:
      function: uint8 [b, size, size, channels] → array [b, …], which may still be computed.
      files: any number of files.
      cropper: decodes one file, as in evaluation.
      batch_size: b; incomplete batches are padded with black images.

    Raises:
      UserError: while iterating, if an image does not meet the cropper's requirements.
    """
    size = min(batch_size, len(files))
    shape = (size, cropper.size, cropper.size, cropper.channels)

    with ThreadPoolExecutor(THREADS) as pool:

        def reading(start: int) -> list[Future[np.ndarray | str]]:
            return [pool.submit(_read, file, cropper) for file in files[start : start + size]]

        waiting: list[tuple[Path, np.ndarray | str]] = []
        outputs: Any = ()
        ahead = reading(0)
        for start in range(0, len(files), size):
            now, ahead = [each.result() for each in ahead], reading(start + size)
            images = np.zeros(shape, np.uint8)
            for row, one in enumerate(now):
                if not isinstance(one, str):
                    images[row] = one
            computing = function(images)
            yield from _rows(waiting, outputs)
            waiting = list(zip(files[start : start + size], now, strict=True))
            outputs = computing
        yield from _rows(waiting, outputs)


def say_problems(problems: Sequence[tuple[str, str]], total: int) -> None:
    """Logs a warning about images that were left out.

    Args:
      problems: names and reasons; nothing is logged if empty.
      total: number of images, including those in `problems`.

    Raises:
      UserError: if no image could be read.
    """
    if not problems:
        return
    named = [f"{name} ({reason})" for name, reason in problems[:NAMED]]
    more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    count = "not one" if len(problems) == total else f"{len(problems)}"
    cannot = "can be read" if len(problems) == total else "cannot be read and are left out"
    line = printable(f"{count} of {total} images {cannot}: {', '.join(named)}{more}")
    if len(problems) == total:
        raise UserError(line)
    _log.warning(line)


def _rows(
    waiting: list[tuple[Path, np.ndarray | str]], outputs: Any
) -> Iterator[tuple[Path, np.ndarray | str]]:
    values = np.asarray(outputs)
    for row, (file, one) in enumerate(waiting):
        yield file, one if isinstance(one, str) else values[row]


def _read(file: Path, cropper: Cropper) -> np.ndarray | str:
    try:
        return cropper(read_bytes(file, IMAGE_BYTES), None, str(file))
    except UnreadableImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
