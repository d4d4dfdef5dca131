"""Files that are in the cache: where, and whether they are the right ones."""

import hashlib
import json
import os
import pwd
from pathlib import Path

import pytest

from jaxcnn.errors import UserError
from jaxcnn.io import atomic, safe_files
from jaxcnn.pretrained import cache, download
from jaxcnn.pretrained.fetch import fetch
from tests.pretrained.server import COMMIT, CONTENT, FILE, SHA256, unknown, weights

MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(download, "get", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def lay(folder, content=CONTENT, info=None):
    path = cache.weights_path(info or weights(), folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"JAXCNN_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"JAXCNN_CACHE": "~/a", "HOME": "/c"}, "/c/a"),
        ({"JAXCNN_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/jaxcnn/weights"),
        ({"HOME": "/c"}, "/c/.cache/jaxcnn/weights"),
    ],
)
def test_the_environment_names_the_cache(monkeypatch, variables, place):
    for name in ("JAXCNN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.weights_path(weights()) == Path(place) / "resnet18.tv_in1k" / FILE


def test_a_user_without_a_home_is_told_the_variable(monkeypatch):
    def nobody(number):
        raise KeyError(number)

    for name in ("JAXCNN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(UserError, match="set JAXCNN_CACHE to a folder"):
        fetch(weights())


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a", ".hidden", "a\0", "a\nb", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    for info in (weights(name=name), weights(file=name)):
        with pytest.raises(UserError, match="cannot be the name of a file"):
            fetch(info, cache=tmp_path)


@pytest.mark.parametrize(
    "known",
    [
        {"sha256": SHA256},
        {"sha256": SHA256.upper(), "bytes": len(CONTENT)},
        {"sha256_prefix": SHA256[:8]},
        {"md5": MD5},
        {"bytes": len(CONTENT)},
        {},
    ],
)
def test_a_file_put_there_by_hand_needs_no_network(tmp_path, known):
    info = unknown(**known)
    path = lay(tmp_path, info=info)
    assert fetch(info, cache=tmp_path) == fetch(info, cache=tmp_path) == path
    record = cache.recorded(info, cache=tmp_path)
    if "sha256" in known:
        assert record is None
    else:
        assert (record["size"], record["sha256"]) == (len(CONTENT), SHA256)
        assert (record["url"], record["revision"]) == ("", "")


@pytest.mark.parametrize(
    ("known", "what"),
    [
        ({"sha256": SHA256}, f"SHA-256 is [0-9a-f]{{64}}, not {SHA256}"),
        ({"sha256_prefix": SHA256[:8]}, f"beginning of SHA-256 is [0-9a-f]{{8}}, not {SHA256[:8]}"),
        ({"md5": MD5}, f"MD5 is [0-9a-f]{{32}}, not {MD5}"),
        ({"bytes": len(CONTENT)}, "size in bytes is 299999, not 300000"),
        ({}, rf"SHA-256 is [0-9a-f]{{64}}, not {SHA256} as recorded .*{FILE}\.json"),
    ],
)
def test_a_file_that_changed_is_refused_and_kept(tmp_path, known, what):
    """The sizes agree but for the one that is published."""
    info = unknown(**known)
    path = lay(tmp_path, info=info)
    fetch(info, cache=tmp_path)
    other = CONTENT[:-1] if "bytes" in known else CONTENT[:-1] + b"x"
    path.write_bytes(other)
    for _ in range(2):
        with pytest.raises(UserError, match=f"{FILE} is not the file of resnet18.* {what}; delete"):
            fetch(info, cache=tmp_path)
    assert path.read_bytes() == other


def test_all_that_is_published_is_compared_beside_the_record(tmp_path):
    path = lay(tmp_path, info=unknown())
    fetch(unknown(), cache=tmp_path)
    with pytest.raises(UserError, match="its MD5 is"):
        fetch(unknown(md5="0" * 32), cache=tmp_path)
    with pytest.raises(UserError, match="its SHA-256 is"):
        fetch(unknown(sha256="0" * 64), cache=tmp_path)
    assert path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"size": 1}',
        "[" * 10_000,
        json.dumps({"size": 1, "sha256": "x", "when": "", "url": "", "revision": ""}),
        json.dumps({"size": 1, "sha256": SHA256, "when": "", "url": "", "revision": "../x"}),
        json.dumps({"size": True, "sha256": SHA256, "when": "", "url": "", "revision": ""}),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, text):
    path = lay(tmp_path, info=unknown())
    cache.record_path(path).write_text(text)
    for call in (fetch, cache.recorded):
        with pytest.raises(UserError, match=rf"{FILE}\.json\b.*delete it"):
            call(unknown(), cache=tmp_path)


def test_a_record_keeps_where_and_when_a_copy_came_from(tmp_path):
    path = lay(tmp_path)
    cache.write_record(path, cache.digest(path), "https://x", COMMIT)
    record = cache.recorded(weights(), cache=tmp_path)
    assert {"url": "https://x", "revision": COMMIT, "size": len(CONTENT)}.items() <= record.items()
    assert record["when"].endswith("+00:00")
    assert cache.recorded(weights(name="other"), cache=tmp_path) is None


def test_a_cache_that_cannot_be_written_is_read(tmp_path, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    path = lay(tmp_path, info=unknown())
    monkeypatch.setattr(atomic, "replaced_file", refuse)
    assert fetch(unknown(), cache=tmp_path) == path
    assert "Read-only file system" in caplog.text


def test_special_files_and_folders_are_refused(tmp_path):
    info = weights()
    path = cache.weights_path(info, tmp_path)
    path.mkdir(parents=True)
    with pytest.raises(UserError, match=f"cannot read .*{FILE}: it is a folder"):
        fetch(info, cache=tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(UserError, match="it is a FIFO"):
        fetch(info, cache=tmp_path)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory; set JAXCNN_CACHE"):
        fetch(weights(), cache=tmp_path / "file")
    with pytest.raises(UserError, match="Not a directory"):
        fetch(weights(), cache=tmp_path / "file" / "below")


def test_a_file_too_large_for_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_files, "WEIGHT_BYTES", 1000)
    lay(tmp_path)
    with pytest.raises(UserError, match="it has more than 1,000 bytes"):
        fetch(weights(), cache=tmp_path)


def test_a_missing_file_names_its_address_its_place_and_its_hash(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    url = f"https://huggingface.co/timm/resnet18.tv_in1k/resolve/{COMMIT}/{FILE}"
    place = cache.weights_path(weights(), tmp_path)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE") as info:
        fetch(weights(), cache=tmp_path)
    assert f"{url} (300,000 bytes, SHA-256 {SHA256})" in str(info.value)
    assert str(info.value).endswith(f"in another way and put it at {place}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"sha256_prefix": "0123"}, "SHA-256 0123…"),
        ({"md5": "0123", "bytes": 1234}, "1,234 bytes, MD5 0123"),
        ({}, "no hash is published"),
    ],
)
def test_what_is_known_is_said(known, text):
    assert cache.facts(unknown(**known)) == text
