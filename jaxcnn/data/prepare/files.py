"""Reads original files from a folder or an archive, which is never unpacked to disk."""

import contextlib
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import kind_of, open_regular

# Largest decompressed size of an archive or file in memory; the largest published one has 185 MB.
LARGEST = 512 << 20
DAMAGE = (
    *(EOFError, OSError, ValueError, OverflowError, MemoryError, RuntimeError),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, struct.error),
)


def find(source: Path, name: str) -> Path | None:
    """Returns the file with a name in a folder or up to two levels below it, or None.

    Raises:
      UserError: if there are several.
    """
    found: list[Path] = []
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        found += [path for path in source.glob(pattern) if _is_file(path)]
    if len(found) > 1:
        raise UserError(
            f"{found[0]} and {found[1]} have the same name: set --source to the folder of one"
        )
    return found[0] if found else None


def _is_file(path: Path) -> bool:
    """Returns whether a path is a regular file or a link to one.

    Raises:
      UserError: if it is a FIFO, a socket or a device.
    """
    try:
        kind = kind_of(path.stat().st_mode)
    except OSError:  # a link to nothing
        return False
    if kind not in ("", "a folder"):
        raise UserError(f"{path} is {kind}, not a regular file: remove it or set another --source")
    return not kind


def check_source(source: Path) -> None:
    """Raises an error if a file is missing.

    Raises:
      UserError: if it is missing, or a FIFO, socket or device.
    """
    if not os.path.exists(source):
        raise UserError(f"there is no {source}: set --source to the downloaded files")
    _is_file(source)


def read_files(
    source: Path, names: Sequence[str], archive: str = ""
) -> tuple[dict[str, bytes], list[Path]]:
    """Returns the content of the named files that exist, and the files on disk.

    Args:
      source: a folder, or an archive (tar, also compressed, or zip) that holds the files at any
        place. In a folder they may end in .gz.
      names: names of the files.
      archive: name of the published archive, which is also searched in the folder.

    Raises:
      UserError: if nothing is found, a file is damaged or cut short, or an archive has paths that
        lead out of it.
    """
    check_source(source)
    if source.is_file():
        return read_archive(source, names), [source]
    found: dict[str, bytes] = {}
    paths = []
    for name in names:
        for spelling in (name, f"{name}.gz", name.replace("-idx", ".idx")):
            path = find(source, spelling)
            if path is not None:
                found[name] = _read(path)
                paths.append(path)
                break
    if not found and archive and (path := find(source, archive)):
        return read_archive(path, names), [path]
    return found, paths


def read_archive(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Returns the content of the named files at any place in the archive.

    The whole archive is read, so that its checksums are verified.

    Raises:
      UserError: if it is not an archive, damaged or cut short, or has paths that lead out of it.
    """
    try:
        with open_regular(path) as file:
            if zipfile.is_zipfile(file):
                return _read_zip(path, file, names)
        with _decompressed(path) as stream:
            return _read_tar(path, Bounded(path, stream), names)
    except DAMAGE as error:
        raise damaged(path, error) from error


class Bounded:
    """A stream of at most `LARGEST` bytes, whatever size an archive declares."""

    def __init__(self, path: Path, stream: IO[bytes]):
        self._path, self._stream, self._left = path, stream, LARGEST

    def read(self, size: int) -> bytes:
        """Returns the next bytes.

        Raises:
          UserError: if there are more than `LARGEST`.
        """
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _too_large("its content", self._path)
        return data


def _read_zip(path: Path, file: IO[bytes], names: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = _name_inside(path, entry.filename)
            if name not in names or entry.is_dir():
                continue
            # Other compression methods return the whole content, whatever size is requested.
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that is not read")
            with archive.open(entry) as stream:
                _keep(found, path, name, stream, entry.file_size)
    return found


def _read_tar(path: Path, stream: Bounded, names: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
        for member in tar:
            name = _name_inside(path, member.name)
            if name not in names or member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{name} is a link or a device, not a file")
            _keep(found, path, name, content, member.size)
    while stream.read(1 << 20):  # gzip's checksum is at the end
        pass
    return found


def damaged(path: Path, error: Exception) -> UserError:
    """Returns the error for a file that cannot be read to its end."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path} is damaged, truncated or a different file ({reason})")


def _read(path: Path) -> bytes:
    try:
        with _decompressed(path) as stream:
            content = stream.read(LARGEST + 1)
    except DAMAGE as error:
        raise damaged(path, error) from error
    if len(content) > LARGEST:
        raise _too_large("its content", path)
    return content


@contextlib.contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with open_regular(path) as file:
        if path.suffix in (".gz", ".tgz"):
            with gzip.open(file) as stream:
                yield cast(IO[bytes], stream)
        elif path.suffix in (".xz", ".txz"):
            with lzma.open(file) as stream:
                yield cast(IO[bytes], stream)
        else:
            yield file


def _name_inside(archive: Path, name: str) -> str:
    """Returns the last part of a path in an archive; refuses paths that lead out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive} has a file {name!r}, outside the archive: download it again")
    return path.name


def _keep(found: dict[str, bytes], archive: Path, name: str, stream: IO[bytes], size: int) -> None:
    if name in found:
        raise UserError(f"{archive} has two files {name}: download it again")
    if size + sum(map(len, found.values())) > LARGEST:
        raise _too_large(name, archive)
    found[name] = stream.read(size)
    if len(found[name]) < size:
        raise ValueError(f"{name} is truncated")


def _too_large(name: str, path: Path) -> UserError:
    return UserError(f"{path} is another file: {name} has more than {LARGEST:,} bytes")
