"""Downloads by plain HTTPS, from a server on this machine."""

import errno
import fcntl
import http.client
import io
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from jaxcnn.errors import UserError
from jaxcnn.io import append, progress, safe_files
from jaxcnn.pretrained import cache, download, failures
from jaxcnn.pretrained.fetch import fetch
from tests.pretrained.server import COMMIT, CONTENT, FILE, SHA256, serving, unknown, weights
from tests.runs import ROOT

SIZE = len(CONTENT)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """No huggingface_hub, and no waiting between attempts."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(download, "PAUSE", 0.0)


def names(folder):
    """Of the files in the cache, without the locks."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def refused(folder, info, match):
    """Fetches in vain; nothing is left under the name of the file. Returns the line."""
    with pytest.raises(UserError, match=match) as caught:
        fetch(info, cache=folder)
    assert "\n" not in str(caught.value)
    assert not cache.weights_path(info, folder).exists()
    return str(caught.value)


def test_a_repository_is_read_without_huggingface_hub(tmp_path, server, capfd):
    path = fetch(weights(), cache=tmp_path)
    assert path == tmp_path / "resnet18.tv_in1k" / FILE
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == [FILE]
    url = f"{server.address}/timm/resnet18.tv_in1k/resolve/{COMMIT}/{FILE}"
    assert capfd.readouterr().err == f"downloading resnet18.tv_in1k from {url}\n"
    count = len(server.requests)
    assert fetch(weights(), cache=tmp_path) == path
    assert len(server.requests) == count


def test_an_address_is_read_and_recorded_if_no_hash_is_published(tmp_path, server):
    info = unknown(url=server.url)
    fetch(info, cache=tmp_path)
    assert names(tmp_path) == [FILE, f"{FILE}.json"]
    record = cache.recorded(info, cache=tmp_path)
    assert (record["url"], record["sha256"], record["revision"]) == (server.url, SHA256, "")


def test_an_unknown_revision_is_recorded_and_asked_for_later(tmp_path, server):
    info = weights(revision="", sha256="", bytes=0)
    path = fetch(info, cache=tmp_path)
    assert "/resolve/main/" in server.requests[0][1]
    assert cache.recorded(info, cache=tmp_path)["revision"] == COMMIT
    path.unlink()
    server.requests.clear()
    fetch(info, cache=tmp_path)
    assert f"/resolve/{COMMIT}/" in server.requests[0][1]


@pytest.mark.parametrize("published", [{}, {"sha256": ""}, {"sha256": "", "md5": "0" * 32}])
def test_other_content_is_not_kept(tmp_path, server, published):
    """Published hashes, and the one that the hub states, are compared."""
    server.content = CONTENT[:-1] + b"x"
    line = refused(tmp_path, weights(**published), "is .*, not .*; the download was deleted")
    assert str(tmp_path / "resnet18.tv_in1k" / FILE) in line
    assert names(tmp_path) == []


def test_a_file_that_differs_from_the_record_is_not_kept(tmp_path, server):
    info = unknown(url=server.url)
    fetch(info, cache=tmp_path).unlink()
    server.content = CONTENT[:-1] + b"x"
    refused(tmp_path, info, "as recorded of the first copy")
    assert names(tmp_path) == [f"{FILE}.json"]


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        (401, "RepoNotFound", "there is no such repository, or it requires a login .HTTP 401"),
        (403, "GatedRepo", "the repository is gated"),
        (403, "", "access is refused.*HTTP 403"),
        (404, "RevisionNotFound", "the repository no longer has this revision"),
        (404, "EntryNotFound", "there is no such file .HTTP 404"),
        (429, "", "too many requests.*HTTP 429"),
    ],
)
def test_a_refusal_is_one_line_and_one_request(tmp_path, server, status, reason, text):
    server.fails, server.reason = [status], reason
    line = refused(tmp_path, weights(), text)
    assert f"{server.address}/timm/resnet18.tv_in1k/resolve/{COMMIT}/{FILE}" in line
    assert SHA256 in line
    assert names(tmp_path) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("missing", [{"revision": "1" * 40}, {"file": "x"}, {"repository": "a/b"}])
def test_what_the_hub_does_not_have_is_one_line(tmp_path, server, missing):
    text = {"revision": "no longer has this revision", "file": "no such file"}
    refused(tmp_path, weights(**missing), text.get(*missing, "no such repository"))


def test_a_server_that_fails_is_asked_again(tmp_path, server):
    server.fails = [500, 503, 502]
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    server.fails = [500] * 10
    refused(tmp_path / "new", weights(), "the server failed; try again later .HTTP 500")
    assert len(server.fails) == 10 - download.ATTEMPTS


def test_a_connection_that_breaks_is_continued(tmp_path, server):
    server.cuts = [100_000, 100_000]
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    assert server.gets == [None, "bytes=100000-", "bytes=200000-"]
    assert names(tmp_path) == [FILE]


def test_a_truncated_file_is_continued_by_the_next_command(tmp_path, server):
    server.cuts = [1000] * download.ATTEMPTS
    refused(tmp_path, weights(), "ended after 4,000 of 300,000 bytes.; 4,000 bytes are kept")
    assert names(tmp_path) == [f"{FILE}.partial", f"{FILE}.partial.json"]
    server.requests.clear()
    fetch(weights(), cache=tmp_path)
    assert server.gets == ["bytes=4000-"]
    assert names(tmp_path) == [FILE]


def test_a_file_without_any_hash_is_not_continued_by_the_next_command(tmp_path, server):
    info = unknown(url=server.url)
    server.cuts = [1000] * download.ATTEMPTS
    refused(tmp_path, info, "ended after")
    server.requests.clear()
    fetch(info, cache=tmp_path)
    assert server.gets == [None]


def test_a_server_without_ranges_starts_again(tmp_path, server):
    server.ranges, server.cuts = False, [100_000]
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    assert server.gets == [None, "bytes=100000-"]


@pytest.mark.parametrize("etag", ["", f'W/"{SHA256}"'])
def test_a_file_without_a_strong_tag_is_not_continued(tmp_path, server, etag):
    """A weak tag does not say that the bytes are the same."""
    server.etag, server.cuts = etag, [100_000]
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    assert server.gets == [None, None]


def test_an_answer_without_bytes_leaves_nothing(tmp_path, server):
    server.cuts = [0] * download.ATTEMPTS
    refused(tmp_path, weights(), "ended after 0 of 300,000 bytes")
    assert names(tmp_path) == []


def test_a_file_that_changed_on_the_server_starts_again(tmp_path, server):
    info = unknown(url=server.url, sha256_prefix=SHA256[:8])
    server.content, server.etag = b"old" * 100_000, '"old"'
    server.cuts = [1000] * download.ATTEMPTS
    refused(tmp_path, info, "ended after")
    server.content, server.etag = CONTENT, f'"{SHA256}"'
    assert fetch(info, cache=tmp_path).read_bytes() == CONTENT
    assert server.gets[-1] == "bytes=4000-"


@pytest.mark.parametrize("start", [1, SIZE - 1])
def test_a_part_that_begins_elsewhere_is_not_used(tmp_path, server, start):
    server.cuts, server.range_start = [100_000], start
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    assert server.gets == [None, "bytes=100000-", None]


def test_a_file_that_is_shorter_now_starts_again(tmp_path, server):
    info = unknown(url=server.url, sha256_prefix=SHA256[:8])
    server.content = CONTENT + CONTENT
    server.cuts = [SIZE, *[0] * (download.ATTEMPTS - 1)]
    refused(tmp_path, info, "ended after 300,000")
    server.content = CONTENT
    assert fetch(info, cache=tmp_path).read_bytes() == CONTENT
    assert server.gets[-2:] == ["bytes=300000-", None]


def test_a_whole_partial_file_is_not_downloaded_again(tmp_path, server):
    """The process was killed just before it renamed the file."""
    stated = download.get(server.url, tmp_path / "x", SIZE, lambda *args: None)
    server.requests.clear()
    assert download.get(server.url, tmp_path / "x", SIZE, lambda *args: None) == stated
    assert not server.requests


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1, "size": "x"}', "[" * 10_000])
def test_a_damaged_description_starts_again(tmp_path, server, text):
    (tmp_path / "x").write_bytes(b"other")
    (tmp_path / "x.json").write_text(text)
    download.get(server.url, tmp_path / "x", 0, lambda *args: None)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.gets == [None]


def test_a_header_in_a_description_is_not_sent(tmp_path, server):
    stated = {"url": server.url, "size": SIZE, "validator": '"x"\r\nCookie: y'}
    (tmp_path / "x").write_bytes(b"other")
    (tmp_path / "x.json").write_text(json.dumps(stated))
    download.get(server.url, tmp_path / "x", 0, lambda *args: None)
    assert server.gets == [None]


@pytest.mark.parametrize("length", [True, False])
def test_a_file_larger_than_expected_is_given_up(tmp_path, server, length, monkeypatch):
    server.length = length
    refused(tmp_path, weights(bytes=1000), "of 300,000 bytes instead|sends more than 1,000 bytes")
    monkeypatch.setattr(safe_files, "WEIGHT_BYTES", 2000)
    refused(tmp_path, weights(bytes=0), "too many for weights|sends more than 2,000 bytes")
    assert names(tmp_path) == []


def test_a_file_of_unstated_length_is_downloaded(tmp_path, server):
    server.length = False
    assert fetch(unknown(url=server.url), cache=tmp_path).read_bytes() == CONTENT


def test_a_server_that_stalls_is_given_up_and_continued(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "STALL", 0.1)
    server.stall = 20.0
    refused(tmp_path, weights(), "the server is too slow")
    assert [bool(part) for part in server.gets] == [False, True, True, True]
    server.stall = 0.0
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT


def test_a_server_that_trickles_is_given_up():
    class Response:
        def read1(self, size):
            return b"x"

    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "wb", buffering=0) as file:
        patch.setattr(download.time, "monotonic", iter(range(0, 10_000, 20)).__next__)
        with pytest.raises(TimeoutError, match="2 bytes in 40 s"):
            download._copy(Response(), file, 0, 0, lambda *args: None)


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "file:///etc/passwd", "ftp://example.com/x", "//x", "", "http://[x"],
)
def test_other_addresses_than_https_are_refused(tmp_path, server, url):
    refused(tmp_path, unknown(url=url), "HTTPS only|is not an address")
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["http://10.0.0.1/x", "//example.com/x", "ftp://127.0.0.1/x"])
def test_a_redirect_to_other_addresses_is_refused(tmp_path, server, url):
    server.redirect = url
    refused(tmp_path, weights(), "is not HTTPS")
    assert names(tmp_path) == []


def test_a_relative_redirect_is_followed(tmp_path, server):
    server.redirect = f"/files/{FILE}"
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT


def test_a_certificate_must_be_trusted(tmp_path, monkeypatch, server):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += f" -subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl that makes certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(context) as secure:
        info = unknown(url=secure.url)
        assert info.url.startswith("https://")
        refused(tmp_path, info, "certificate is not trusted .*; set SSL_CERT_FILE")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(info, cache=tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (urllib.error.URLError(OSError(101, "Network is unreachable")), "Network is unreachable"),
        (urllib.error.URLError(download.socket.gaierror(-2, "x")), "name is not known, or there"),
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "refused"),
        (urllib.error.URLError(TimeoutError("timed out")), "the server is too slow"),
        (
            urllib.error.URLError(ssl.SSLError(1, "wrong version")),
            "the TLS connection failed",
        ),
        (urllib.error.URLError(ssl.SSLCertVerificationError(1, "x")), "set SSL_CERT_FILE"),
        (urllib.error.URLError(OSError("Tunnel connection failed: 403")), "the proxy failed"),
    ],
)
def test_without_a_connection_there_is_one_attempt_and_one_line(
    tmp_path, server, monkeypatch, error, text
):
    asked = []

    def fail(*args, **kwargs):
        asked.append(args)
        raise error

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fail)
    line = refused(tmp_path, weights(), text)
    assert f"in another way and put it at {tmp_path}" in line
    assert len(asked) == 1
    assert names(tmp_path) == []


def test_a_proxy_is_used_and_named_without_its_password(tmp_path, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    line = refused(tmp_path, weights(), "through the proxy 127.0.0.1:1")
    assert "secret" not in line
    assert not server.requests


def test_a_server_that_does_not_speak_tls_is_one_line(tmp_path, server):
    info = unknown(url=server.url.replace("http:", "https:"))
    refused(tmp_path, info, "the TLS connection failed")


def test_offline_mode_asks_nobody(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for info in (weights(), unknown(url=server.url)):
        refused(tmp_path, info, "HF_HUB_OFFLINE is set")
    assert not server.requests
    assert not list(tmp_path.iterdir())


# Disks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 100, 280])
def test_a_disk_that_fills_up_is_one_line_and_is_freed(server, small_disk, kilobytes):
    disk = small_disk(f"size={kilobytes}k")
    refused(disk, weights(), "cannot write .*No space left on device; free space, .*JAXCNN_CACHE")
    assert names(disk) == []
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert fetch(weights(), cache=disk).read_bytes() == CONTENT


def test_a_disk_that_cannot_be_written_is_one_line(server, small_disk):
    refused(small_disk("ro"), weights(), "cannot write .*Read-only file system; free space, make")
    assert not server.requests


def test_a_write_that_fails_leaves_nothing(tmp_path, server, monkeypatch):
    """As the tests of disks do, where nothing can be mounted."""
    real = append.open_append

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def truncate(self, size):
            self.file.truncate(size)

        def write(self, data):
            self.file.write(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path):
        return Full(real(path)) if path.suffix == ".partial" else real(path)

    monkeypatch.setattr(append, "open_append", opened)
    refused(tmp_path, weights(), rf"cannot write .*{FILE}\.partial: No space left on device")
    assert names(tmp_path) == []


def test_a_link_in_place_of_the_partial_file_is_not_followed(tmp_path, server):
    path = cache.weights_path(weights(), tmp_path)
    path.parent.mkdir()
    (tmp_path / "mine").write_text("mine")
    path.with_name(f"{FILE}.partial").symlink_to(tmp_path / "mine")
    refused(tmp_path, weights(), "it is a link to another file")
    assert (tmp_path / "mine").read_text() == "mine"


# Processes --------------------------------------------------------------------------------------


def start(folder, **changes):
    program = [sys.executable, "-m", "tests.pretrained.fetching", str(folder), repr(changes)]
    return subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process, text):
    """Reads the standard error of a process up to a text."""
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


@pytest.mark.slow
def test_a_killed_process_is_continued(tmp_path, server):
    server.stall = 60.0
    info = unknown(url=server.url, sha256=SHA256)
    known = {name: getattr(info, name) for name in ("url", "sha256", "repository", "revision")}
    process = start(tmp_path, **known)
    try:
        assert server.started.wait(30)
        partial = cache.weights_path(info, tmp_path).with_name(f"{FILE}.partial")
        while not partial.exists() or partial.stat().st_size < SIZE // 2:
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    server.stall = 0.0
    assert fetch(info, cache=tmp_path).read_bytes() == CONTENT
    assert server.gets == [None, f"bytes={SIZE // 2}-"]
    assert names(tmp_path) == [FILE]


@pytest.mark.slow
def test_a_second_process_waits_and_downloads_nothing(tmp_path, server):
    info = unknown(url=server.url, sha256=SHA256)
    known = {name: getattr(info, name) for name in ("url", "sha256", "repository", "revision")}
    path = cache.weights_path(info, tmp_path)
    path.parent.mkdir()
    with append.open_append(path.with_name(f"{FILE}.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = [start(tmp_path, **known) for _ in range(2)]
        for process in processes:
            wait_for(process, f"waiting for another process that downloads {path}")
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, str(path))
    assert server.gets == [None]


def test_a_file_system_without_locks_has_a_partial_file_for_each_process(
    tmp_path, server, monkeypatch
):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with download.locked(tmp_path / "x") as partial:
        assert str(os.getpid()) in partial.name
    server.cuts = [1000] * download.ATTEMPTS
    refused(tmp_path, weights(), "ended after")
    assert names(tmp_path) == []
    assert fetch(weights(), cache=tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == [FILE]


# What is shown ----------------------------------------------------------------------------------


def test_a_long_download_says_how_far_it_is(monkeypatch, capfd):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.progress("x") as show:
        show(1_000_000, 5_000_000)
    assert capfd.readouterr().err == "x: 1 of 5 MB\n"


def as_terminal(monkeypatch):
    """Makes standard error a terminal that keeps what it shows."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    return sys.stderr


def test_a_terminal_has_a_bar(monkeypatch):
    terminal = as_terminal(monkeypatch)
    with progress.progress("weights") as show:
        show(1_000_000, 5_000_000)
    assert "weights" in terminal.getvalue()


def test_a_name_is_no_markup(monkeypatch):
    """A folder may be called [/x], which closes a tag that was never opened."""
    terminal = as_terminal(monkeypatch)
    with progress.progress("decoding [/x]\x1b[9J", "images") as show:
        show(1, 2)
    assert "[/x]" in terminal.getvalue()
    assert "\x1b[9J" not in terminal.getvalue()


def test_the_cause_of_an_error_is_named_first():
    """As of httpx, whose error has the error of the system as its cause."""
    outer = type("ConnectError", (Exception,), {})("x")
    outer.__cause__ = download.socket.gaierror(-2, "y")
    assert failures.why(outer) == "the server's name is not known, or there is no network"
    outer.__cause__ = None
    assert failures.why(outer) == "the connection failed (x)"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (http.client.IncompleteRead(b"", 5), "the connection failed (IncompleteRead(0 bytes read"),
    ],
)
def test_other_errors_are_named(error, text):
    assert failures.why(error).startswith(text)
