"""Reads files that may be damaged or hostile; writes names that may be any text.

Only regular files are read, so that a FIFO or a device neither blocks the program nor fills the
memory, and no more bytes than expected. The readers raise only `OSError`, with a reason in
`strerror`, or `ValueError`.
"""

import contextlib
import errno
import json
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

JSON_BYTES = 64 << 20  # a description, a config or a list of names
WEIGHT_BYTES = 4 << 30  # weights of a network: seven times those of our largest
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SPECIAL = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(mode: int) -> str:
    """Returns "a FIFO", "a folder" and so on for a mode of `os.stat`; "" for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder"
    return next((name for test, name in SPECIAL if test(mode)), "of an unknown kind")


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a regular file, or a link to one, for reading; never blocks.

    Raises:
      OSError: if it cannot be opened, or is a FIFO, socket, device or folder.
    """
    _refuse_special(os.stat(path).st_mode, path)  # before open, which affects some devices
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        _refuse_special(os.fstat(descriptor).st_mode, path)  # the file may have been replaced
        return os.fdopen(descriptor, "rb")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Returns the content of a regular file of at most `limit` bytes.

    Raises:
      OSError: see `open_regular`; also if it is longer.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _refuse_long(size, limit, path)
        data = file.read(size + 1)
        if len(data) > size:  # it grows, or its file system reports no size
            data += file.read(limit + 1 - size)
            _refuse_long(len(data), limit, path)
    return data


def read_text(path: str | Path, limit: int = JSON_BYTES) -> str:
    """Returns the UTF-8 text of a regular file of at most `limit` bytes.

    Raises:
      OSError: see `read_bytes`.
      ValueError: if it is not UTF-8.
    """
    return read_bytes(path, limit).decode("utf-8")


def read_json(path: str | Path, limit: int = JSON_BYTES) -> Any:
    """Returns the content of a JSON file of at most `limit` bytes.

    Raises:
      OSError: see `read_bytes`.
      ValueError: if it is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, limit))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def expanded_limit(size: int) -> int:
    """Returns the bytes of arrays that a compressed file of `size` bytes may hold.

    The limit is 20 times the size plus 64 MiB, at most 4 GiB. Weights and measurements hardly
    shrink when compressed, so a larger expansion is refused.
    """
    return min(20 * size + (64 << 20), WEIGHT_BYTES)


def read_npz(path: str | Path, limit: int | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name; checks each header before reading.

    Args:
      path: the file.
      limit: largest total size of the arrays in bytes; the default is `expanded_limit`.

    Raises:
      OSError: see `open_regular`.
      ValueError: if it is damaged, encrypted, not in NumPy's format, holds objects, or holds more
        than `limit`.
    """
    with open_regular(path) as file:
        if limit is None:
            limit = expanded_limit(os.fstat(file.fileno()).st_size)
        try:
            with zipfile.ZipFile(file) as archive:
                return dict(_arrays(archive, limit))
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, SyntaxError) as error:
            raise ValueError(f"it is damaged ({_first_line(error)})") from error
        except (RuntimeError, NotImplementedError, OverflowError, MemoryError) as error:
            raise ValueError(_first_line(error)) from error


def _arrays(archive: zipfile.ZipFile, limit: int) -> Iterator[tuple[str, np.ndarray]]:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > limit:
        raise ValueError(f"its arrays have {total:,} bytes, more than the {limit:,} expected")
    names = [member.filename.removesuffix(".npy") for member in members]
    if len(set(names)) < len(names):
        raise ValueError("it has two arrays of one name")
    for name, member in zip(names, members, strict=True):
        if member.flag_bits & 1:
            raise ValueError(f"{name} is encrypted")
        # Other methods decompress everything, whatever size is requested.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed in a way that NumPy does not write")
        with archive.open(member) as stream:
            _check_header(name, stream, member.file_size)
        with archive.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            if stream.read(1):  # reading the end verifies the checksum
                raise ValueError(f"{name} is longer than its array")
        yield name, array


def _check_header(name: str, stream: IO[bytes], size: int) -> None:
    """Refuses an array larger than its archive member, before it is allocated."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # only needed for field names outside Latin-1
        raise ValueError(f"{name} has version {version} of NumPy's format")
    if dtype.hasobject:
        raise ValueError(f"Object arrays, such as {name}, are programs and are not read")
    wanted = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or wanted != size - stream.tell():
        raise ValueError(
            f"{name} says that it has shape {shape}, {wanted:,} bytes, and"
            f" {size - stream.tell():,} are there"
        )


def csv_cell(value: Any) -> Any:
    """Returns the content of a CSV cell that no spreadsheet interprets as a formula.

    A text that begins like a formula gets a leading quote, as OWASP recommends ("CSV Injection").
    Numbers, and texts that are numbers, are unchanged.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _refuse_special(mode: int, path: str | Path) -> None:
    kind = kind_of(mode)
    if kind == "a folder":
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if kind:
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


def _refuse_long(size: int, limit: int, path: str | Path) -> None:
    if size > limit:
        reason = f"it has {size:,} bytes, more than the {limit:,} expected"
        raise OSError(errno.EFBIG, reason, os.fspath(path))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
