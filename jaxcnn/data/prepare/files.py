"""Original files, found in a folder or read out of an archive, which is never unpacked to disk."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from jaxcnn.errors import UserError

LARGEST = 1 << 30  # bytes of one file in memory; the largest that we look for has 154 MB
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)


def find(source: Path, name: str) -> Path | None:
    """Returns the file of that name in a folder or up to two below it, or None.

    Raises:
      UserError: there are several.
    """
    found: list[Path] = []
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        found += [path for path in source.glob(pattern) if path.is_file()]
    if len(found) > 1:
        raise UserError(
            f"{found[0]} and {found[1]} have the same name: set --source to the folder of one"
        )
    return found[0] if found else None


def check_source(source: Path) -> None:
    """Refuses what is not there.

    Raises:
      UserError: no such file or folder.
    """
    if not source.exists():
        raise UserError(f"there is no {source}: set --source to the downloaded files")


def read_files(
    source: Path, names: Sequence[str], archive: str = ""
) -> tuple[dict[str, bytes], list[Path]]:
    """Returns the content of those of the named files that are there, and the files on disk.

    Args:
      source: a folder, or an archive (tar, also compressed, or zip) in which they lie anywhere.
        In a folder they may end in .gz.
      names: what they are called.
      archive: the archive that they are published in, also looked for in the folder.

    Raises:
      UserError: nothing there, something damaged or cut short, or an archive with paths that leave
        it.
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
    """Returns the content of the named files, wherever in the archive they lie.

    All of the archive is read, so that its checksums are compared.

    Raises:
      UserError: not an archive, damaged or cut short, or with paths that leave it.
    """
    found: dict[str, bytes] = {}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    name = _name_inside(path, entry.filename)
                    if name in names and not entry.is_dir():
                        with archive.open(entry) as stream:
                            _keep(found, path, name, stream)
            return found
        with _decompressed(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    name = _name_inside(path, member.name)
                    if name in names and member.isfile():
                        content = tar.extractfile(member)
                        if content is not None:
                            _keep(found, path, name, content)
            while stream.read(1 << 20):  # the checksum of gzip stands at the end
                pass
    except DAMAGE as error:
        raise damaged(path, error) from error
    return found


def damaged(path: Path, error: Exception) -> UserError:
    """Returns what to say of a file that cannot be read to its end."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path} is damaged, cut short or not the file that it should be ({reason})")


def _read(path: Path) -> bytes:
    try:
        with _decompressed(path) as stream:
            content = stream.read(LARGEST + 1)
    except DAMAGE as error:
        raise damaged(path, error) from error
    return _bounded(content, path.name, path)


def _decompressed(path: Path) -> Any:
    if path.suffix in (".gz", ".tgz"):
        return gzip.open(path)
    if path.suffix in (".xz", ".txz"):
        return lzma.open(path)
    return path.open("rb")


def _name_inside(archive: Path, name: str) -> str:
    """The last part of a path in an archive, unless the path leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive} has a file {name!r}, outside of itself: download it again")
    return path.name


def _keep(found: dict[str, bytes], archive: Path, name: str, stream: IO[bytes]) -> None:
    if name in found:
        raise UserError(f"{archive} has two files {name}: download it again")
    found[name] = _bounded(stream.read(LARGEST + 1), name, archive)


def _bounded(content: bytes, name: str, path: Path) -> bytes:
    if len(content) > LARGEST:
        raise UserError(f"{name} in {path} has more than {LARGEST:,} bytes: it is another file")
    return content
