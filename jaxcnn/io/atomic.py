"""Files that appear whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxcnn.errors import EXIT_USAGE, UserError

PARTIAL: set[Path] = set()  # files of `whole_file` that are being written


@contextlib.contextmanager
def whole_file(path: Path, exit_code: int = EXIT_USAGE) -> Iterator[IO[bytes]]:
    """Yields a binary file that becomes `path` at the end: whole or not at all.

    It is opened at once, so what cannot be written is known before the work. Folders are made.

    Args:
      path: a file; a link is replaced, not followed.
      exit_code: of the error, if it cannot be written.

    Raises:
      UserError: if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    PARTIAL.add(partial)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("xb")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code) from None
    try:
        yield file
        file.close()
        partial.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code) from error
    finally:
        with contextlib.suppress(OSError):  # of a full disk
            file.close()
        partial.unlink(missing_ok=True)
        PARTIAL.discard(partial)


def remove_partial_files() -> None:
    """Removes the unfinished files of `whole_file`, for a process that ends without unwinding."""
    for path in PARTIAL:
        path.unlink(missing_ok=True)
