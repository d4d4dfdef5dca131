"""Why a download failed, in a few words."""

import errno
import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

# Errors of a disk. Those of a connection have other numbers.
DISK = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
# Errors of httpx and requests that an error of the system does not always cause.
BROKEN = ("ChunkedEncodingError", "ConnectError", "ReadError", "RemoteProtocolError")
OF_STATUS = {
    401: "there is no such repository, or it requires a login",
    403: "access is refused; a gated repository requires a login",
    404: "there is no such file",
    407: "the proxy requires a login",
    410: "the file was removed",
    429: "there were too many requests; wait some minutes",
}


OFFLINE = "HF_HUB_OFFLINE is set, and the file is not in the cache"


class RefusedError(Exception):
    """A download that must not be used; the message says why."""


def why(error: BaseException) -> str:
    """Returns why a download failed, from an error of urllib or of huggingface_hub."""
    causes = list(_causes(error))
    for one in causes:
        if isinstance(one, RefusedError):
            return str(one)
        if type(one).__name__ == "OfflineModeIsEnabled":
            return OFFLINE
        if number := status(one):
            return _of_status(number, _headers(one).get("X-Error-Code", ""))
    for one in causes:
        if text := _of_connection(one):
            return text + _through_proxy()
    for one in causes:
        if type(one).__name__ in BROKEN:
            return f"the connection failed ({_first_line(one)})" + _through_proxy()
    return f"{type(error).__name__}: {_first_line(error)}"


def disk_error(error: BaseException) -> OSError | None:
    """Returns the error of a disk among the causes of an error, if there is one."""
    for one in _causes(error):
        network = (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)
        if isinstance(one, OSError) and not isinstance(one, network) and one.errno in DISK:
            return one
    return None


def cannot_write(error: OSError, place: object, fix: str) -> str:
    """Returns the line for a disk that is full or not writable."""
    name = place if error.filename is None else os.fsdecode(error.filename)
    return f"cannot write {name}: {error.strerror or error}; {fix}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and its causes, the latest first."""
    seen: list[BaseException] = []
    while isinstance(error, BaseException) and error not in seen:
        seen.append(error)
        yield error
        reason = error.reason if isinstance(error, urllib.error.URLError) else None
        inner = reason if isinstance(reason, BaseException) else None
        error = inner or error.__cause__ or error.__context__


def status(error: BaseException) -> int:
    """Returns the HTTP status of an error, or 0."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    code = getattr(getattr(error, "response", None), "status_code", 0)
    return code if isinstance(code, int) else 0


def _headers(error: BaseException) -> Any:
    if isinstance(error, urllib.error.HTTPError):
        return error.headers or {}
    return getattr(getattr(error, "response", None), "headers", {})


def _of_status(number: int, code: str) -> str:
    if code == "RevisionNotFound":
        return "the repository no longer has this revision"
    if code == "GatedRepo":
        return (
            "the repository is gated: accept its terms on its page, and log in with `hf auth login`"
        )
    other = "the server failed; try again later" if number >= 500 else "the request is refused"
    return f"{OF_STATUS.get(number, other)} (HTTP {number})"


def _of_connection(error: BaseException) -> str:
    """Returns the text for an error of a connection, or ""."""
    text = _first_line(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({text}); set SSL_CERT_FILE to the"
            " certificates of your network"
        )
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection failed ({text})"
    if isinstance(error, socket.gaierror):
        return "the server's name is not known, or there is no network"
    if isinstance(error, TimeoutError):
        return f"the server is too slow ({text or 'timed out'})"
    if type(error).__name__ == "ProxyError" or text.startswith("Tunnel connection failed"):
        return f"the proxy failed ({text})"
    if isinstance(error, (ConnectionError, http.client.HTTPException)) or _number(error):
        return f"the connection failed ({getattr(error, 'strerror', None) or text})"
    return ""


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _through_proxy() -> str:
    """Returns ", through the proxy HOST" if the environment names one; never its password."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("all") or proxies.get("http")
    return f", through the proxy {proxy.rpartition('@')[2]}" if proxy else ""
