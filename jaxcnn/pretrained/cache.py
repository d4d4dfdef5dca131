"""The cache of trained weights: the place of a file, and what is known of its content.

  CACHE/NAME/FILE            the weights, downloaded or put there by hand
  CACHE/NAME/FILE.json       a record of the first copy: size, SHA-256, revision, address, date
  CACHE/NAME/FILE.partial    an interrupted download; FILE.partial.json describes it
  CACHE/NAME/FILE.lock       locked while a process downloads the file

A file that `huggingface_hub` downloads stays in the cache of that library; only its record is here.
"""

import dataclasses
import datetime
import errno
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from jaxcnn.errors import UserError
from jaxcnn.io import atomic, paths, safe_files
from jaxcnn.pretrained.weights_info import WeightsInfo

NAME = re.compile(r"[\w+-][\w.+-]*", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|")
RECORD_BYTES = 64 << 10
CHUNK = 1 << 20  # bytes


@dataclasses.dataclass(frozen=True)
class Digest:
    """Size in bytes and hashes, in hexadecimal digits, of a file."""

    size: int
    sha256: str
    md5: str


def cache_folder() -> Path:
    """Returns the folder of all trained weights, which need not exist.

    It is $JAXCNN_CACHE, else $XDG_CACHE_HOME/jaxcnn/weights, else ~/.cache/jaxcnn/weights.

    Raises:
      UserError: if no variable is set and the user has no home folder.
    """
    if chosen := os.environ.get("JAXCNN_CACHE"):
        return Path(paths.expand(chosen))
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcnn/weights"
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        raise UserError(
            "there is no folder for trained weights, because this user has no home folder: set"
            " JAXCNN_CACHE to a folder"
        ) from None


def weights_path(info: WeightsInfo, cache: Path | None = None) -> Path:
    """Returns CACHE/NAME/FILE, which need not exist.

    Args:
      info: the weights.
      cache: the cache; None for `cache_folder`.

    Raises:
      UserError: if a name could lead to another folder, or there is no cache folder.
    """
    for name in (info.name, info.file):
        if not NAME.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be the name of a file of weights: only letters, digits and _.+-"
                " are allowed, and no dot at the start"
            )
    return (cache_folder() if cache is None else cache) / info.name / info.file


def digest(path: Path, *, md5: bool = False) -> Digest:
    """Reads a file and returns its size and hashes.

    Args:
      path: a file of at most `safe_files.WEIGHT_BYTES`.
      md5: whether to compute the MD5, which is "" otherwise.

    Raises:
      OSError: if it cannot be read, is not a regular file, or is too large.
    """
    hashes = [hashlib.sha256(), *([hashlib.md5(usedforsecurity=False)] if md5 else [])]
    size = 0
    with safe_files.open_regular(path) as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > safe_files.WEIGHT_BYTES:
                reason = f"it has more than {safe_files.WEIGHT_BYTES:,} bytes"
                raise OSError(errno.EFBIG, reason, os.fspath(path))
            for one in hashes:
                one.update(chunk)
    return Digest(size, hashes[0].hexdigest(), hashes[1].hexdigest() if md5 else "")


def difference(found: Digest, info: WeightsInfo) -> str:
    """Returns the known fact that a file contradicts, such as "its MD5 is …, not …"; or ""."""
    prefix = found.sha256[: len(info.sha256_prefix)]
    for what, has, expected in (
        ("size in bytes", found.size, info.bytes),
        ("SHA-256", found.sha256, info.sha256.lower()),
        ("beginning of SHA-256", prefix, info.sha256_prefix.lower()),
        ("MD5", found.md5, info.md5.lower()),
    ):
        if expected and has != expected:
            return f"its {what} is {has}, not {expected}"
    return ""


def facts(info: WeightsInfo) -> str:
    """Returns the facts that identify the file, for a person who puts it into the cache."""
    known = [f"{info.bytes:,} bytes"] if info.bytes else []
    if info.sha256:
        known.append(f"SHA-256 {info.sha256}")
    else:
        known += [f"SHA-256 {info.sha256_prefix}…"] if info.sha256_prefix else []
        known += [f"MD5 {info.md5}"] if info.md5 else []
    return ", ".join(known) or "no hash is published"


def recorded(info: WeightsInfo, *, cache: Path | None = None) -> dict[str, Any] | None:
    """Returns what was recorded of the first copy of a file on this machine.

    Args:
      info: the weights.
      cache: the cache; None for `cache_folder`.

    Returns:
      `size` in bytes, `sha256`, `when` (ISO 8601), `url` ("" for a file put there by hand) and
      `revision` (commit of the repository, or ""); None if nothing was recorded.

    Raises:
      UserError: if the record cannot be read, or see `weights_path`.
    """
    return read_record(weights_path(info, cache))


def read_record(path: Path) -> dict[str, Any] | None:
    """Returns the record of the file CACHE/NAME/FILE; see `recorded`."""
    file = record_path(path)
    try:
        record = safe_files.read_json(file, RECORD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is not JSON"
        raise UserError(f"cannot read {file}: {reason}; delete it") from None
    if not _is_record(record):
        raise UserError(f"{file} is not the record of a file of weights; delete it")
    return record


def _is_record(record: Any) -> bool:
    """Returns whether JSON of unknown origin is a record."""
    if not isinstance(record, dict) or type(record.get("size")) is not int:
        return False
    if not all(isinstance(record.get(key), str) for key in ("sha256", "when", "url", "revision")):
        return False
    return bool(SHA256.fullmatch(record["sha256"]) and COMMIT.fullmatch(record["revision"]))


def write_record(path: Path, found: Digest, url: str, revision: str) -> None:
    """Records the content of the file CACHE/NAME/FILE; see `recorded`.

    Raises:
      OSError: if the record cannot be written.
    """
    record = {
        "size": found.size,
        "sha256": found.sha256,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "url": url,
        "revision": revision if COMMIT.fullmatch(revision) else "",
    }
    with atomic.replaced_file(record_path(path), durable=True) as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())


def record_path(path: Path) -> Path:
    """Returns CACHE/NAME/FILE.json."""
    return path.with_name(f"{path.name}.json")
