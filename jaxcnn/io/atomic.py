"""Writes files and folders that appear whole or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxcnn.errors import EXIT_USAGE, UserError
from jaxcnn.io.append import flush

PARTIAL: set[Path] = set()  # files and folders that are being written


@contextlib.contextmanager
def replaced_file(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Yields a binary file that becomes `path` at the end: whole or not at all.

    It is opened at once, so that a write error appears before the work. Folders are created.

    Args:
      path: a file; a link is replaced, not followed.
      durable: whether to flush the content to the disk before the file appears; otherwise a power
        cut may leave it empty.

    Raises:
      OSError: if the file cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    with _partial(path) as partial:
        file = partial.open("xb")
        try:
            yield file
            file.close()
            if durable:
                flush([partial])
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):  # the disk may be full
                file.close()


@contextlib.contextmanager
def whole_file(path: Path, exit_code: int = EXIT_USAGE) -> Iterator[IO[bytes]]:
    """Yields the file of `replaced_file`; raises `UserError` if it cannot be written.

    Args:
      path: a file; a link is replaced, not followed.
      exit_code: exit code of the error.

    Raises:
      UserError: if the file cannot be written.
    """
    try:
        with replaced_file(path) as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code) from error


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder that becomes `path` at the end: whole or not at all.

    Args:
      path: a folder that does not exist, or is empty.

    Raises:
      UserError: if the folder cannot be written.
    """
    try:
        with _partial(path) as partial:
            partial.mkdir()
            yield partial
            partial.rename(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Yields the temporary name of a file or folder; removes what is left of it at the end.

    The parent folder is created.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    PARTIAL.add(partial)
    try:
        yield partial
    finally:
        _remove(partial)
        PARTIAL.discard(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_partial_files() -> None:
    """Removes unfinished files, for a process that ends without unwinding."""
    for path in PARTIAL:
        _remove(path)
