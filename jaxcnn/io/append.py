"""Appends to files in a workdir that other users may have created or may remove."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO


def open_append(path: Path) -> IO[bytes]:
    """Opens a file for reading and appending; creates it if missing.

    Raises:
      OSError: if it cannot be opened, or would lead the writer elsewhere: a link, a file with a
        second name, a device.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link to another file", str(path)) from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        kind = "has a second name" if stat.S_ISREG(found.st_mode) else "is not a regular file"
        raise OSError(errno.EINVAL, f"it {kind}", str(path))
    return os.fdopen(descriptor, "a+b", buffering=0)


def append(path: Path, content: bytes) -> None:
    """Appends the whole content to a file, or nothing if the disk is full.

    Raises:
      OSError: if the file cannot be written; see `open_append`.
    """
    with open_append(path) as file:
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":  # a line cut short by a kill
            content = b"\n" + content
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(end)
            raise


def lines(path: Path, most: int) -> Iterator[bytes]:
    """Yields the lines of a file; a line longer than `most` bytes becomes an empty one.

    A file that is missing or not a regular file has no lines.

    Raises:
      OSError: if the file cannot be read.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        while line := file.readline(most):
            too_long = len(line) == most and not line.endswith(b"\n")
            while line and not line.endswith(b"\n") and too_long:
                line = file.readline(most)
            yield b"\n" if too_long else line


def identity(path: Path) -> tuple[int, int] | None:
    """Returns an identity that distinguishes files or folders of the same name."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def flush(paths: Iterable[Path]) -> None:
    """Waits until files and folders are on the disk.

    Raises:
      OSError: if writing one to the disk fails.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
