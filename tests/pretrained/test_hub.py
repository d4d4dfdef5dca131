"""Downloads by the real huggingface_hub, from a server on this machine that speaks its paths."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxcnn.errors import UserError
from jaxcnn.pretrained import cache, download
from jaxcnn.pretrained.fetch import fetch
from tests.pretrained.server import COMMIT, CONTENT, FILE, REPOSITORY, SHA256, weights
from tests.runs import ROOT

huggingface_hub = pytest.importorskip("huggingface_hub", "0.30")
constants = pytest.importorskip("huggingface_hub.constants")

UNKNOWN = {"revision": "", "sha256": "", "bytes": 0}


@pytest.fixture
def hub(tmp_path, monkeypatch, server):
    """The cache of huggingface_hub."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # of the environment when it was loaded
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's attempts
    return folder


@pytest.fixture
def own(tmp_path):
    """Our cache."""
    return tmp_path / "own"


def contents(folder):
    """Of the blobs of the client's cache that are whole."""
    return [
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name == "blobs" and path.suffix != ".incomplete"
    ]


def refused(own, info, match):
    with pytest.raises(UserError, match=match) as caught:
        fetch(info, cache=own)
    line = str(caught.value)
    assert "\n" not in line
    assert str(cache.weights_path(info, own)) in line
    return line


def test_a_file_is_downloaded_once_and_kept_once(hub, own, server):
    path = fetch(weights(), cache=own)
    assert path.read_bytes() == CONTENT
    assert path == hub / "models--timm--resnet18.tv_in1k" / "snapshots" / COMMIT / FILE
    assert contents(hub) == [CONTENT]
    assert not own.exists()
    count = len(server.requests)
    assert fetch(weights(), cache=own) == path
    assert len(server.requests) == count


def test_an_unknown_revision_is_recorded_and_asked_for_later(hub, own, server):
    info = weights(**UNKNOWN)
    fetch(info, cache=own)
    assert "/resolve/main/" in server.requests[0][1]
    record = cache.recorded(info, cache=own)
    assert (record["sha256"], record["revision"]) == (SHA256, COMMIT)
    assert record["url"].endswith(f"{REPOSITORY}/resolve/main/{FILE}")
    server.requests.clear()
    fetch(info, cache=own)
    assert not server.requests
    shutil.rmtree(hub)
    fetch(info, cache=own)
    assert f"/resolve/{COMMIT}/" in server.requests[0][1]


def test_a_file_that_the_client_has_is_found_without_network(hub, own, server):
    """Downloaded by another program, by the name of the branch."""
    huggingface_hub.hf_hub_download(REPOSITORY, FILE, endpoint=server.address)
    server.requests.clear()
    for info in (weights(**UNKNOWN), weights(), weights(revision="")):
        assert fetch(info, cache=own).read_bytes() == CONTENT
    assert not server.requests
    assert cache.recorded(weights(), cache=own)["revision"] == COMMIT


def test_a_file_put_there_by_hand_comes_first(hub, own, server):
    fetch(weights(), cache=own)
    path = cache.weights_path(weights(), own)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch(weights(), cache=own) == path


@pytest.mark.parametrize("known", [{}, UNKNOWN])
def test_a_blob_that_changed_is_refused_and_kept(hub, own, server, known):
    """The client itself reads no hash again."""
    blob = fetch(weights(**known), cache=own).resolve()
    blob.write_bytes(CONTENT[:-1] + b"x")
    server.requests.clear()
    with pytest.raises(UserError, match=f"{blob} is not the file of .*SHA-256 is .*; delete it"):
        fetch(weights(**known), cache=own)
    assert blob.exists()
    assert not server.requests
    blob.unlink()
    assert fetch(weights(**known), cache=own).read_bytes() == CONTENT


def test_a_blob_without_any_hash_is_compared_with_its_name(hub, own, server):
    blob = Path(
        huggingface_hub.hf_hub_download(REPOSITORY, FILE, endpoint=server.address)
    ).resolve()
    blob.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=f"{blob} is not the file .* as the hub states; delete it"):
        fetch(weights(**UNKNOWN), cache=own)
    assert not own.exists()


@pytest.mark.parametrize("known", [{}, UNKNOWN])
@pytest.mark.parametrize("linked", [SHA256, ""])
def test_other_content_is_not_kept(hub, own, server, known, linked):
    server.content, server.linked = CONTENT[:-1] + b"x", linked
    if known and not linked:
        known = {**known, "md5": "0" * 32}
    refused(own, weights(**known), "its .* is .*, not .*; the download was deleted")
    assert contents(hub) == []
    assert not own.exists()


@pytest.mark.parametrize(
    ("linked", "content", "text"),
    [("0" * 64, CONTENT, "another file, with SHA-256 0000"), (SHA256, b"x", "of 1 bytes instead")],
)
def test_another_file_is_refused_before_it_is_downloaded(hub, own, server, linked, content, text):
    server.linked, server.content = linked, content
    refused(own, weights(), text)
    assert not server.gets
    assert not hub.exists()


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        (401, "RepoNotFound", "no such repository, or it requires a login"),
        (403, "GatedRepo", "the repository is gated"),
        (404, "EntryNotFound", "there is no such file"),
        (404, "RevisionNotFound", "no longer has this revision"),
        (429, "", "too many requests"),
        (500, "", "the server failed; try again later .HTTP 500"),
    ],
)
def test_a_refusal_is_one_line(hub, own, server, status, reason, text):
    server.fails, server.reason = [status] * 100, reason
    line = refused(own, weights(), text)
    assert f"{server.address}/{REPOSITORY}/resolve/{COMMIT}/{FILE}" in line
    assert SHA256 in line
    assert not server.gets
    assert not own.exists()


def test_a_server_that_fails_for_a_moment_is_asked_again(hub, own, server):
    server.fails = [503, 500]
    assert fetch(weights(), cache=own).read_bytes() == CONTENT


def test_a_truncated_file_is_one_line(hub, own, server):
    server.cuts = [0] * 20
    refused(own, weights(), "cannot download resnet18.tv_in1k: the connection failed")
    assert contents(hub) == []
    server.cuts = []
    assert fetch(weights(), cache=own).read_bytes() == CONTENT


def test_offline_mode_asks_nobody(hub, own, server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(own, weights(), "HF_HUB_OFFLINE is set, and the file is not in the cache")
    assert not server.requests


def test_no_connection_is_one_line(hub, own, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    refused(own, weights(), "the connection failed .Connection refused")


def test_a_proxy_that_fails_is_one_line(hub, own, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.com")
    monkeypatch.setenv("https_proxy", f"http://user:secret@{server.address[7:]}")
    close_session = getattr(huggingface_hub, "close_session", lambda: None)
    close_session()  # it has read the proxies
    line = refused(own, weights(), "through the proxy 127.0.0.1")
    close_session()
    assert "secret" not in line


def test_a_full_disk_names_the_cache_of_the_client(hub, own, server, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(UserError, match=f"cannot write {hub}: No space left.*set HF_HUB_CACHE"):
        fetch(weights(), cache=own)


@pytest.mark.filterwarnings("ignore:Not enough free disk space")  # of the client
@pytest.mark.parametrize("options", ["size=100k", "ro"])
def test_a_disk_without_room_names_the_cache_of_the_client(
    hub, own, server, small_disk, monkeypatch, options
):
    disk = small_disk(options)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(disk / "hub"))
    with pytest.raises(UserError, match=r"cannot write .*; free space.* set HF_HUB_CACHE"):
        fetch(weights(), cache=own)
    assert contents(disk) == []


def test_a_cache_that_is_a_file_is_one_line(hub, own, server):
    hub.write_text("")
    with pytest.raises(UserError, match=f"cannot write {hub}.*set HF_HUB_CACHE"):
        fetch(weights(), cache=own)


# Variables that the client reads when it is loaded ----------------------------------------------


def command(own, changes, **variables):
    return subprocess.run(
        [sys.executable, "-m", "tests.pretrained.fetching", str(own), repr(changes)],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_importing_loads_no_client_and_asks_nobody(tmp_path):
    program = "import sys, jaxcnn.pretrained.fetch; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_the_variables_of_the_client_are_obeyed(tmp_path, own, server):
    variables = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_x"}
    done = command(own, {}, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "home" / "hub"))
    sent = {
        (path.split("/")[1], token)
        for (_, path, _), token in zip(server.requests, server.tokens, strict=True)
    }
    assert {("timm", "Bearer hf_x"), ("files", None)} <= sent
    assert ("timm", None) not in sent
    server.requests.clear()
    for changes, code in (({}, 0), ({"revision": "1" * 40}, 2)):
        done = command(own, changes, **variables, HF_HUB_OFFLINE="1")
        assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert "HF_HUB_OFFLINE is set, and the file is not in the cache" in line
    assert not server.requests


@pytest.mark.slow
def test_a_slow_hub_is_given_up_after_the_client_s_seconds(tmp_path, own, server):
    server.delay = 30.0
    variables = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_ETAG_TIMEOUT": "1"}
    done = command(own, {}, **variables, HF_HUB_DISABLE_TELEMETRY="1")
    assert "the server is too slow" in done.stderr


@pytest.mark.slow
def test_a_killed_process_does_not_hinder_the_next(tmp_path, own, server):
    variables = {"HF_HOME": str(tmp_path / "home")}
    server.stall = 60.0
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pretrained.fetching", str(own), "{}"],
        cwd=ROOT,
        env={**os.environ, **variables},
    )
    assert server.started.wait(60)
    process.kill()
    process.wait()
    server.stall = 0.0
    assert command(own, {}, **variables).returncode == 0
    assert contents(tmp_path / "home" / "hub") == [CONTENT]


@pytest.mark.slow
def test_two_processes_at_once_get_the_same_file(tmp_path, own, server):
    program = [sys.executable, "-m", "tests.pretrained.fetching", str(own), "{}"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    server.stall = 0.3
    processes = [
        subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=60)[0] for process in processes)
    assert first == second
    assert contents(tmp_path / "home" / "hub") == [CONTENT]
