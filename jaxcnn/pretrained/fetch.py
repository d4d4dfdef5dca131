"""Fetches the file of trained weights, and verifies it on every read.

A file is looked for in this order:

1. In our own cache, see `cache`: an earlier download, or a file that a person put there.
2. In the cache of `huggingface_hub`, if the weights are in a repository and it is installed.
3. On the network: from the hub by `huggingface_hub` if it is installed, and otherwise by plain
   HTTPS (`download`).

Every file is compared with all that is published of it: size, SHA-256 or its first digits, MD5.
Where no SHA-256 or no revision is published, the first copy on this machine is recorded: later
reads are compared with its SHA-256, and later downloads ask for its revision. A file in a cache
that differs is refused and never replaced: a person may have put it there. A download that differs
is deleted.

`HF_ENDPOINT` is the address of the hub. `HF_HUB_OFFLINE=1` allows no download at all. The other
variables of `huggingface_hub` (`HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_HUB_ETAG_TIMEOUT`, …) are
read by that library.
"""

import contextlib
import logging
import os
import time
import types
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jaxcnn.errors import UserError
from jaxcnn.io import append, progress
from jaxcnn.pretrained import cache as caches
from jaxcnn.pretrained import download, failures
from jaxcnn.pretrained.failures import RefusedError
from jaxcnn.pretrained.weights_info import WeightsInfo

LOG = logging.getLogger("jaxcnn")
HUB = "https://huggingface.co"
ON = ("1", "ON", "YES", "TRUE")  # values of HF_HUB_OFFLINE
T = TypeVar("T")


def fetch(info: WeightsInfo, *, cache: Path | None = None) -> Path:
    """Returns the verified file of trained weights; downloads it if it is on no disk yet.

    Args:
      info: the weights.
      cache: folder of all weights; None for `cache.cache_folder`.

    Raises:
      UserError: if the file is on no disk and cannot be downloaded, differs from what is known of
        it, or cannot be read or written; nothing is left under the name of the file then.
    """
    path = caches.weights_path(info, cache)
    if _exists(path):
        return _cached(path, info, path)
    hub = _hub() if info.repository else None
    found = _in_hub_cache(hub, info, _revision(info, path)) if hub else None
    if found:
        return _cached(found, info, path)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ON:
        raise _cannot_download(info, path, failures.OFFLINE)
    return _by_hub(hub, info, path) if hub else _by_https(info, path)


def _exists(path: Path) -> bool:
    """Returns whether there is a file, of whatever kind."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; set JAXCNN_CACHE to another folder"
        ) from None
    return True


def _cached(file: Path, info: WeightsInfo, path: Path) -> Path:
    """Returns a file of a cache.

    Raises:
      UserError: if it differs from what is known of it, or cannot be read.
    """
    if wrong := _difference(file, info, path, _stated_by_cache(file)):
        shown = file if file == path else file.resolve()  # the blob of the hub, not its link
        raise UserError(
            f"{shown} is not the file of {info.name}: {wrong}; delete it to download it again"
        )
    return file


def _difference(file: Path, info: WeightsInfo, path: Path, stated: download.Stated) -> str:
    """Returns how a file differs from what is known of it; "" if it does not.

    If it is the first copy and not all is published, it is recorded.

    Args:
      file: the file, in our cache or in that of `huggingface_hub`.
      info: the weights.
      path: CACHE/NAME/FILE, where the record is.
      stated: what the hub stated of the file.

    Raises:
      UserError: if the file or the record cannot be read.
    """
    published = info.sha256 and (info.revision or not info.repository)
    record = None if published else caches.read_record(path)
    try:
        found = caches.digest(file, md5=bool(info.md5))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}; delete it") from None
    if wrong := caches.difference(found, info):
        return wrong
    if record and not info.sha256 and found.sha256 != record["sha256"]:
        whose = f"as recorded of the first copy in {caches.record_path(path)}"
        return f"its SHA-256 is {found.sha256}, not {record['sha256']} {whose}"
    if not info.sha256 and stated.sha256 not in ("", found.sha256):
        return f"its SHA-256 is {found.sha256}, not {stated.sha256} as the hub states"
    if not record and (not info.sha256 or (not published and stated.revision)):
        try:
            caches.write_record(path, found, stated.url, stated.revision)
        except OSError as error:
            LOG.warning(
                "cannot record the SHA-256 of %s (%s): later reads are not compared with it",
                file,
                error.strerror or error,
            )
    return ""


def _revision(info: WeightsInfo, path: Path) -> str:
    """Returns the commit of a repository that is known or recorded; otherwise "main"."""
    record = None if info.revision else caches.read_record(path)
    return info.revision or (record or {}).get("revision") or "main"


def _address(info: WeightsInfo, path: Path) -> str:
    if not info.repository:
        return info.url
    quote = urllib.parse.quote
    revision = quote(_revision(info, path), safe="")
    return f"{_endpoint()}/{quote(info.repository)}/resolve/{revision}/{quote(info.file)}"


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _cannot_download(info: WeightsInfo, path: Path, why: str) -> UserError:
    url = _address(info, path)
    return UserError(
        f"cannot download {info.name}: {why}; or get {url} ({caches.facts(info)}) in another way"
        f" and put it at {path}"
    )


# By plain HTTPS


def _by_https(info: WeightsInfo, path: Path) -> Path:
    """Downloads the file into our cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with download.locked(path) as partial:
            if _exists(path):  # another process was faster
                return _cached(path, info, path)
            if not (info.sha256 or info.sha256_prefix or info.md5 or info.repository):
                download.discard(partial)  # nothing would verify that its beginning is intact
            stated = _received(info, path, partial)
            if wrong := _difference(partial, info, path, stated):
                download.discard(partial)
                raise _cannot_download(info, path, f"{wrong}; the download was deleted")
            append.flush([partial])
            os.replace(partial, path)
            download.discard(partial)
    except OSError as error:
        raise UserError(failures.cannot_write(error, path, download.FREE_SPACE)) from error
    return path


def _received(info: WeightsInfo, path: Path, partial: Path) -> download.Stated:
    """Downloads the partial file; turns errors of the network into one line."""
    url = _address(info, path)
    progress.say(f"downloading {info.name} from {url}")
    try:
        with progress.progress(info.name) as show:
            return download.get(url, partial, info.bytes, show)
    except UserError:  # of the disk
        raise
    except Exception as error:
        why = failures.why(error)
        with contextlib.suppress(OSError):
            why += f"; {partial.stat().st_size:,} bytes are kept, run it again to continue"
        raise _cannot_download(info, path, why) from error


# By huggingface_hub


def _hub() -> types.ModuleType | None:
    """Returns `huggingface_hub` if it is installed."""
    try:
        import huggingface_hub
    except ImportError:
        return None
    return huggingface_hub


def _in_hub_cache(hub: Any, info: WeightsInfo, revision: str) -> Path | None:
    """Returns the file in the cache of `huggingface_hub`, without the network."""
    try:
        found = hub.try_to_load_from_cache(info.repository, info.file, revision=revision)
    except (OSError, ValueError, RuntimeError):  # the download will say what is wrong
        return None
    return Path(found) if isinstance(found, str) else None


def _by_hub(hub: Any, info: WeightsInfo, path: Path) -> Path:
    """Downloads the file into the cache of `huggingface_hub`."""
    revision = _revision(info, path)
    url = hub.hf_hub_url(info.repository, info.file, revision=revision, endpoint=_endpoint())
    try:
        stated = _patiently(lambda: _stated_by_hub(hub, url))
        download.check_size(stated.size, info.bytes)
        if info.sha256 and stated.sha256 not in ("", info.sha256.lower()):
            raise RefusedError(f"the hub has another file, with SHA-256 {stated.sha256}")
        progress.say(f"downloading {info.name} from {url}")
        file = Path(
            hub.hf_hub_download(
                info.repository,
                info.file,
                revision=stated.revision or revision,
                endpoint=_endpoint(),
                library_name="jaxcnn",
            )
        )
    except Exception as error:  # of the client, of its libraries, or of the disk
        if of_disk := failures.disk_error(error):
            fix = "free space, make it writable, or set HF_HUB_CACHE to another folder"
            line = failures.cannot_write(of_disk, hub.constants.HF_HUB_CACHE, fix)
            raise UserError(line) from error
        raise _cannot_download(info, path, failures.why(error)) from error
    if wrong := _difference(file, info, path, stated):
        for one in (file.resolve(), file):  # the blob and the link to it
            with contextlib.suppress(OSError):
                one.unlink()
        raise _cannot_download(info, path, f"{wrong}; the download was deleted")
    return file


def _stated_by_hub(hub: Any, url: str) -> download.Stated:
    """Returns the hub's description of a file, whose tag is the SHA-256 if the file is large."""
    about = hub.get_hf_file_metadata(url)
    tag = about.etag or ""
    sha256 = tag if caches.SHA256.fullmatch(tag) else ""
    return download.Stated(url, about.size or 0, sha256, about.commit_hash or "")


def _stated_by_cache(file: Path) -> download.Stated:
    """Returns what the cache of `huggingface_hub` keeps of the hub's description of a file.

    A file is snapshots/COMMIT/FILE there, a link to a blob that is named by the tag.
    """
    folder = file.parent
    revision = folder.name if folder.parent.name == "snapshots" else ""
    tag = os.readlink(file).rpartition("/")[2] if revision and file.is_symlink() else ""
    return download.Stated("", 0, tag if caches.SHA256.fullmatch(tag) else "", revision)


def _patiently(call: Callable[[], T]) -> T:
    """Calls until there is no transient error, at most `download.ATTEMPTS` times."""
    for attempt in range(download.ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            if failures.status(error) not in download.TRANSIENT:
                raise
        time.sleep(download.PAUSE * 2**attempt)
    return call()
