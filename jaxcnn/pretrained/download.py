"""Plain downloads by HTTPS: bounded, resumed after an interruption, one process at a time.

An interrupted download is continued with `Range` and `If-Range`, so that a file that has changed on
the server is sent from its beginning (RFC 9110, sections 13.1.5 and 14).
"""

import contextlib
import dataclasses
import http.client
import ipaddress
import json
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxcnn.errors import UserError
from jaxcnn.io import append, atomic, safe_files
from jaxcnn.io.lock import wait_for_lock
from jaxcnn.io.progress import Show, say
from jaxcnn.pretrained import failures
from jaxcnn.pretrained.failures import RefusedError

STALL = 30.0  # seconds without a byte after which a connection is given up
SLOWEST = 16 << 10  # bytes in STALL seconds; less is given up, too
ATTEMPTS = 4  # without progress
PROGRESS = 1 << 20  # bytes; an attempt that gained more is not counted
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
CHUNK = 1 << 20  # bytes
TRANSIENT = (408, 416, 500, 502, 503, 504)  # HTTP statuses worth another attempt
FREE_SPACE = "free space, make it writable, or set JAXCNN_CACHE to another folder"


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a server states of a file.

    Attributes:
      url: address that was asked; "" for a file put into the cache by hand.
      size: bytes; 0 if unknown.
      sha256: stated by the hub for its large files; "" if unknown.
      revision: stated by the hub: commit of the repository; "" if unknown.
      validator: strong ETag, which changes if the file does; "" if there is none.
    """

    url: str
    size: int
    sha256: str = ""
    revision: str = ""
    validator: str = ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed addresses; keeps the headers of the first."""

    def __init__(self) -> None:
        self.first: Any = {}

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_url(newurl)
        except RefusedError:
            fp.close()
            raise
        self.first = self.first or headers
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_url(url: str) -> None:
    """Refuses an address that is neither HTTPS nor HTTP of this machine.

    Raises:
      RefusedError: naming the address's scheme and host.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise RefusedError(f"{url!r} is not an address") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))):
        raise RefusedError(f"{parts.scheme}://{host} is not HTTPS, and weights come by HTTPS only")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def get(url: str, partial: Path, size: int, show: Show) -> Stated:
    """Downloads a file, and continues a download that was interrupted.

    After an error of the network, the partial file is kept for the next call, with a description of
    it in `PARTIAL.json`. After any other error, nothing is kept.

    Args:
      url: an address; see `check_url`.
      partial: the file that is written; its folder exists.
      size: bytes of the file, if known; 0 otherwise.
      show: called as the bytes arrive.

    Returns:
      What the server states of the file; the caller verifies the content.

    Raises:
      OSError: if the network fails, repeatedly where another attempt may help.
      http.client.HTTPException: if the server does not speak HTTP, or its answer breaks off.
      RefusedError: if the file is larger than expected, or the address is not allowed.
      UserError: if the partial file cannot be written.
    """
    check_url(url)
    left, furthest, connected = ATTEMPTS, _size(partial), False
    try:
        while True:
            try:
                return _attempt(url, partial, size, show)
            except (OSError, http.client.HTTPException) as error:
                gained = _size(partial) - furthest
                furthest += max(gained, 0)
                connected = connected or gained > 0
                left = ATTEMPTS - 1 if gained > PROGRESS else left - 1
                if left <= 0 or not _may_pass(error, connected=connected):
                    raise
            time.sleep(PAUSE * 2 ** (ATTEMPTS - 1 - left))
    except (RefusedError, UserError):
        discard(partial)
        raise
    finally:
        if not _size(partial):
            discard(partial)


def discard(partial: Path) -> None:
    """Removes a partial file and its description."""
    for path in (partial, _description(partial)):
        with contextlib.suppress(OSError):
            path.unlink()


def _may_pass(error: Exception, *, connected: bool) -> bool:
    """Returns whether another attempt may help."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in TRANSIENT
    if isinstance(error, urllib.error.URLError):  # there was no connection
        return connected
    return True


def _attempt(url: str, partial: Path, size: int, show: Show) -> Stated:
    """Sends one request and writes its answer; see `get`."""
    before = _interrupted(partial, url, size)
    offset = _size(partial) if before else 0
    if before and offset == before.size:  # the process ended just before the file was renamed
        return before
    headers = {"User-Agent": "jaxcnn"}
    if before and offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": before.validator}
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310, see `check_url`
    try:
        response = opener.open(request, timeout=STALL)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the file on the server is shorter now
            discard(partial)
        raise
    with response:
        if response.status == 206 and before:
            _check_range(response, offset, before.size, partial)
            stated = before
        elif response.status == 200:
            offset, stated = 0, _stated(url, response, redirects.first)
        else:
            raise RefusedError(f"the server answers with HTTP {response.status}")
        check_size(stated.size, size)
        with _opened(partial, offset, stated) as file:
            _copy(response, file, offset, stated.size or size, show)
    received = _size(partial)
    if stated.size and received != stated.size:
        raise ConnectionError(f"it ended after {received:,} of {stated.size:,} bytes")
    return stated


def _stated(url: str, response: Any, first: Any) -> Stated:
    """Returns what the headers of an answer, or of the first redirect to it, state."""
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError("the server sends another encoding than was asked for")
    length = headers.get("Content-Length", "")
    etag = headers.get("ETag", "")
    hub = [source.get("X-Linked-ETag", "").strip('"') for source in (first, headers)]
    return Stated(
        url=url,
        size=int(length) if length.isascii() and length.isdigit() else 0,
        sha256=next((tag for tag in hub if re.fullmatch("[0-9a-f]{64}", tag)), ""),
        revision=first.get("X-Repo-Commit", "") or headers.get("X-Repo-Commit", ""),
        validator=etag if etag.startswith('"') else "",
    )


def _check_range(response: Any, offset: int, size: int, partial: Path) -> None:
    """Checks that an answer continues the partial file; discards the file if it does not."""
    found = response.headers.get("Content-Range", "")
    if found != f"bytes {offset}-{size - 1}/{size}":
        discard(partial)
        raise ConnectionError(f"the server continued with {found!r} at byte {offset:,} of {size:,}")


def check_size(stated: int, size: int) -> None:
    """Refuses a file that is not of the expected size, or too large; 0 is unknown.

    Raises:
      RefusedError: before it is downloaded.
    """
    if size and stated and stated != size:
        raise RefusedError(f"the server has another file, of {stated:,} bytes instead of {size:,}")
    if stated > safe_files.WEIGHT_BYTES:
        raise RefusedError(f"the file has {stated:,} bytes, too many for weights")


@contextlib.contextmanager
def _opened(partial: Path, offset: int, stated: Stated) -> Iterator[IO[bytes]]:
    """Opens the partial file at an offset; a new one is described beside it."""
    try:
        with append.open_append(partial) as file:
            file.truncate(offset)
            if not offset:
                _describe(partial, stated)
            yield file
    except OSError as error:
        if found := failures.disk_error(error):
            raise UserError(failures.cannot_write(found, partial, FREE_SPACE)) from error
        raise


def _copy(response: Any, file: IO[bytes], done: int, size: int, show: Show) -> None:
    """Writes the body of an answer to a file that has `done` bytes.

    Raises:
      OSError: see `get`; also if the file cannot be written.
      RefusedError: if there are more bytes than `size`, if that is not 0.
    """
    limit = size or safe_files.WEIGHT_BYTES
    mark, marked = done, time.monotonic()
    while chunk := response.read1(CHUNK):
        done += len(chunk)
        if done > limit:
            raise RefusedError(f"the server sends more than {limit:,} bytes")
        view = memoryview(chunk)
        while view:  # a disk that is nearly full takes a part
            view = view[file.write(view) :]
        show(done, size)
        now = time.monotonic()
        if now - marked > STALL:
            if done - mark < SLOWEST:
                raise TimeoutError(f"{done - mark:,} bytes in {now - marked:.0f} s")
            mark, marked = done, now


def _interrupted(partial: Path, url: str, size: int) -> Stated | None:
    """Returns the description of a partial file if its download can be continued."""
    try:
        kept = Stated(**safe_files.read_json(_description(partial), 1 << 16))
    except (OSError, ValueError, TypeError):
        return None
    texts = (kept.url, kept.sha256, kept.revision, kept.validator)
    if type(kept.size) is not int or not all(isinstance(text, str) for text in texts):
        return None
    usable = kept.url == url and kept.validator.isprintable() and kept.validator
    fits = 0 < _size(partial) <= kept.size and size in (0, kept.size)
    return kept if usable and fits else None


def _describe(partial: Path, stated: Stated) -> None:
    with atomic.replaced_file(_description(partial)) as file:
        file.write(json.dumps(dataclasses.asdict(stated)).encode())


def _description(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Waits until no other process downloads a file; yields the name of its partial file.

    The operating system releases the lock of a killed process. A file system without locks gives
    each process a partial file of its own, which is removed at the end.

    Raises:
      OSError: if the lock file cannot be written.
    """
    with append.open_append(path.with_name(f"{path.name}.lock")) as file:
        waiting = f"waiting for another process that downloads {path}"
        if wait_for_lock(file, lambda: say(waiting)):
            yield path.with_name(f"{path.name}.partial")
            return
    own = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield own
    finally:
        discard(own)
