"""Whole or not there: kills, full disks, two at a time; and it goes on where it was."""

import dataclasses
import errno
import fcntl
import json
import os
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
from array_record.python import array_record_module
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn.data.prepare import workspace, writer
from jaxcnn.data.prepare.__main__ import main
from jaxcnn.data.prepare.idx import read_mnist
from jaxcnn.data.prepare.original import Examples
from jaxcnn.errors import EXIT_WORKDIR, UserError

TARGET = "mnist/3.0.1"
HIDDEN = "mnist/.3.0.1.incomplete"


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(writer, "SHARD_BYTES", 2000)


@pytest.fixture
def raw(originals, tmp_path):
    originals.mnist(tmp_path / "raw", counts=(40, 12))
    return tmp_path / "raw"


def prepare(raw, out, **options):
    return writer.prepare(read_mnist(raw), out, partial=True, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
def test_killed_anywhere_it_goes_on_and_ends_with_the_same_bytes(raw, tmp_path):
    whole = contents(prepare(raw, tmp_path / "whole"))
    assert len(whole) == 3 + 4 + 2  # descriptions; shards of train, of test
    program = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from jaxcnn.data.prepare import writer
        from jaxcnn.data.prepare.idx import read_mnist
        writer.SHARD_BYTES = 2000
        writer.WINDOW = 4
        calls = 0
        def progress(split, done, total):
            global calls
            calls += 1
            if calls == 9:
                os.kill(os.getpid(), 9)
        raw, out = Path({str(raw)!r}), Path({str(tmp_path / "out")!r})
        writer.prepare(read_mnist(raw), out, partial=True, progress=progress)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs, kept = 0, {}
    out = tmp_path / "out"
    while not (out / TARGET).exists():
        done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
        runs += 1
        assert done.returncode in (-9, 0)
        if done.returncode:
            assert [path.name for path in (out / "mnist").iterdir()] == [".3.0.1.incomplete"]
            now = {path.name: path.stat() for path in (out / HIDDEN / "data").iterdir()}
            for name, status in kept.items():  # no shard is written twice
                assert now[name].st_ino == status.st_ino
                assert now[name].st_mtime_ns == status.st_mtime_ns
            assert len(now) > len(kept)
            kept = now
    assert 2 <= runs <= 6
    assert contents(out / TARGET) == whole
    assert [path.name for path in (out / "mnist").iterdir()] == ["3.0.1"]


@pytest.mark.usefixtures("small_shards")
def test_other_files_start_afresh(raw, originals, stock, tmp_path):
    def stop(split, done, total):
        if split == "train" and done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out", progress=stop)
    assert len(list((tmp_path / "out" / HIDDEN / "data").iterdir())) == 3
    truth = originals.mnist(raw, counts=(40, 12), seed=1)
    folder = prepare(raw, tmp_path / "out")
    for split, (images, _) in truth.items():
        found = np.stack([record["image"] for record in stock(folder, split)])
        assert {image.tobytes() for image in found} == {image.tobytes() for image in images}


@pytest.mark.usefixtures("small_shards")
def test_a_shard_that_lost_its_end_is_written_again(raw, tmp_path):
    whole = contents(prepare(raw, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out", progress=interrupt_test)
    shard = next((tmp_path / "out" / HIDDEN / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert contents(prepare(raw, tmp_path / "out")) == whole


def interrupt_test(split, done, total):
    if split == "test":
        raise KeyboardInterrupt


def test_an_interruption_says_that_it_goes_on(raw, tmp_path, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "prepare", interrupt)
    assert main(["mnist", f"--source={raw}", f"--out={tmp_path}"]) == 130
    assert "the same command continues" in capsys.readouterr().err


@pytest.mark.usefixtures("small_shards")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_disk_is_one_error_and_what_is_written_is_kept(raw, tmp_path, monkeypatch):
    real, opened = array_record_module.ArrayRecordWriter, []

    def on_a_full_disk(path, options):
        """The third file is the device that is always full."""
        opened.append(path)
        return real("/dev/full" if len(opened) == 3 else path, options)

    with monkeypatch.context() as patch:
        patch.setattr(array_record_module, "ArrayRecordWriter", on_a_full_disk)
        with pytest.raises(
            UserError, match=r"No space left on device.*make room or set --out"
        ) as e:
            prepare(raw, tmp_path / "out")
    assert e.value.exit_code == EXIT_WORKDIR
    assert not (tmp_path / "out" / TARGET).exists()
    assert len(list((tmp_path / "out" / HIDDEN / "data").iterdir())) == 2
    whole = contents(prepare(raw, tmp_path / "whole"))
    assert contents(prepare(raw, tmp_path / "out")) == whole


def test_a_full_disk_when_it_is_described(raw, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write_info", full)
        with pytest.raises(UserError, match="No space left on device"):
            prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out" / TARGET).exists()
    prepare(raw, tmp_path / "out")


def test_a_disk_that_is_too_small_is_refused_at_once(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(workspace.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=9))
    with pytest.raises(UserError, match=r"0\.0 GB free and 0\.0 GB are to be written"):
        prepare(raw, tmp_path / "out")


def test_a_folder_that_cannot_be_written(raw, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory"):
        prepare(raw, tmp_path / "out")


def test_two_at_a_time(raw, tmp_path):
    hidden = tmp_path / "out" / HIDDEN
    hidden.mkdir(parents=True)
    with (hidden / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is preparing"):
            prepare(raw, tmp_path / "out")
    prepare(raw, tmp_path / "out")


def test_what_is_there_is_left_alone(raw, tmp_path):
    folder = prepare(raw, tmp_path)
    before = contents(folder)
    with pytest.raises(UserError, match=r"mnist/3\.0\.1 already exists: use it, or remove it"):
        prepare(raw, tmp_path)
    assert contents(folder) == before
    info = json.loads((folder / "dataset_info.json").read_text())
    del info["fileFormat"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"it is tfrecord: `python -m jaxcnn\.data\.prepare conv"):
        prepare(raw, tmp_path)


@pytest.mark.usefixtures("small_shards")
def test_what_could_not_be_read_is_tried_again(raw, stock, tmp_path):
    original = read_mnist(raw)
    load = original.splits["test"]
    failures = [OSError("stale file handle")]

    def flaky():
        examples = load()

        def read(index):
            if index == 5 and failures:
                raise failures.pop()
            return examples.read(index)

        return dataclasses.replace(examples, read=read)

    original = dataclasses.replace(original, splits={**original.splits, "test": flaky})
    with pytest.raises(UserError, match=r"1 record cannot .*test record 5 \(stale file handle\)"):
        writer.prepare(original, tmp_path, partial=True)
    folder = writer.prepare(original, tmp_path, partial=True)
    assert len(stock(folder, "test")) == 12


def test_hopeless_files_are_given_up_early(raw, originals, tmp_path, monkeypatch):
    originals.mnist(raw, counts=(40, 12), labels=[255] * 40)
    monkeypatch.setattr(writer, "HOPELESS", 5)
    monkeypatch.setattr(writer, "WINDOW", 8)
    with pytest.raises(UserError, match=r"^8 records cannot be used"):
        prepare(raw, tmp_path / "out")


@given(st.integers(1, 10**7), st.integers(1, 10**12))
def test_shards_are_a_power_of_two_and_not_small(num_examples, num_bytes):
    count = writer.shard_count(num_examples, num_bytes)
    assert count & (count - 1) == 0
    assert 1 <= count <= min(1024, num_examples)
    if count > 1:
        assert num_bytes / count >= 64 << 20
    if count < 1024 and 2 * count <= num_examples:
        assert num_bytes / (2 * count) < 64 << 20


def test_imagenet_has_as_many_shards_as_that_of_tfds():
    assert writer.shard_count(1_281_167, 146_000_000_000) == 1024
    assert writer.shard_count(50_000, 6_600_000_000) == 64


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\\"))


@pytest.mark.slow
@given(
    st.lists(KEYS | st.integers(0), unique_by=str, min_size=1), st.sampled_from(["train", "test"])
)
def test_the_order_is_by_the_hash_of_tfds(keys, split):
    from tensorflow_datasets.core.hashing import Hasher

    examples = Examples(keys, lambda index: {}, str, 0)
    hashed = [Hasher(split).hash_key(keys[index]) for index in writer.order(split, examples)]
    assert hashed == sorted(map(Hasher(split).hash_key, keys))
