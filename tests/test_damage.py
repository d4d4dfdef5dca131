"""Workdirs that are damaged, full, taken away or made by a stranger: one line, no wrong number."""

import errno
import fcntl
import json
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcnn import doctor
from jaxcnn.errors import EXIT_PEER_LOST, EXIT_WORKDIR, UserError
from jaxcnn.io import append, paths
from jaxcnn.run import cli, workdir
from jaxcnn.run.checkpoint import checkpoint_files
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.run.metric_writer import MetricWriter
from tests.checkpoints import seal_as_before

META = {"config": {"seed": 0}, "num_classes": 2, "class_names": ["a", "b"]}
WEIGHTS = np.arange(600, dtype=np.float32)


def state(step):
    return {"params": {"w": WEIGHTS}, "step": np.asarray(step, np.int32)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Steps 1, 2 and 3, of which 2 is the best."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(directory, keep_latest=3)
    for step, top1 in ((1, 0.25), (2, 0.75), (3, 0.5)):
        checkpoints.save(step, state(step), META, {"top1": top1}, final=True)
    checkpoints.close()
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "run" / "checkpoints"))


def restored(directory, **options):
    return Checkpoints(directory, read_only=True).restore(state(0), **options)


# What is sealed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("item", ["metrics/metrics", "meta/metadata", "digests/metadata"])
def test_no_flipped_bit_beside_the_arrays_is_believed(copy, item):
    path = copy / "2" / item
    whole, wanted = path.read_bytes(), checkpoint_files.describe(copy, 2)
    bits = range(0, 8 * len(whole), max(1, len(whole) // 20))
    noticed = 0
    for bit in bits:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert checkpoint_files.describe(copy, 2) == wanted
        except (OSError, ValueError):
            noticed += 1
    assert noticed > 0.9 * len(bits)


@pytest.mark.exhaustive
def test_no_flipped_bit_of_any_file_is_believed(copy):
    chance = random.Random(0)  # noqa: S311
    wrong = 0
    files = [path for path in (copy / "2").rglob("*") if path.is_file() and path.stat().st_size]
    for _ in range(200):
        path = chance.choice(sorted(files))
        whole = path.read_bytes()
        data = bytearray(whole)
        bit = chance.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        checkpoints = Checkpoints(copy, read_only=True)
        assert (checkpoints.best(), checkpoints.best_value()) in ((2, 0.75), (3, 0.5))
        try:
            found = checkpoints.restore(state(0), choice=2)
            assert (int(found.state["step"]), found.meta) == (2, META)
            np.testing.assert_array_equal(found.state["params"]["w"], WEIGHTS)
        except UserError as error:
            wrong += "checkpoint 2 in" not in str(error)
        path.write_bytes(whole)
    assert not wrong


def test_an_older_step_under_a_newer_number_is_noticed(copy):
    shutil.copytree(copy / "1", copy / "9")
    assert restored(copy).step == 3
    checkpoints = Checkpoints(copy, keep_latest=3)
    assert (checkpoints.latest(), checkpoints.best()) == (3, 2)
    checkpoints.close()
    assert (copy / "9.corrupt").is_dir()


@pytest.mark.parametrize(
    "text",
    ['{"top1": "high"}', "[1]", "7", "null", "[" * 99999, '{"top1": 1e999}', "", "\xff"],
    ids=["text", "list", "number", "null", "nested", "infinite", "empty", "not UTF-8"],
)
def test_metrics_that_were_made_up_choose_nothing_and_end_no_run(copy, text):
    (copy / "1" / "metrics" / "metrics").write_bytes(text.encode("latin-1"))
    assert Checkpoints(copy, read_only=True).best() == 2
    checkpoints = Checkpoints(copy)
    checkpoints.save(4, state(4), META, {"top1": 0.1}, final=True)
    checkpoints.close()
    assert checkpoint_files.steps(copy) == [2, 4]


def test_checkpoints_of_an_older_version_are_restored_and_chosen(copy):
    seal_as_before(copy.parent)
    assert restored(copy, choice="best").step == 2
    assert restored(copy).meta == {key: META[key] for key in ("config", "num_classes")}


def test_what_else_lies_among_the_checkpoints_is_none(copy, tmp_path):
    (copy / "007").mkdir()
    (copy / "\u0663").mkdir()
    (copy / ("9" * 200)).write_text("a file")
    (copy / "12").symlink_to(tmp_path)
    (copy / "notes.txt").write_text("mine")
    assert restored(copy).step == 3
    checkpoints = Checkpoints(copy, keep_latest=9)
    checkpoints.save(4, state(4), META, final=True)
    checkpoints.close()
    assert checkpoint_files.steps(copy) == [1, 2, 3, 4]
    assert (copy / "notes.txt").read_text() == "mine"
    assert (copy / "007").is_dir()


def test_an_empty_step_is_set_aside(copy):
    (copy / "99").mkdir()
    checkpoints = Checkpoints(copy, keep_latest=9)
    assert checkpoints.restore(state(0)).step == 3
    checkpoints.close()
    assert (copy / "99.corrupt").is_dir()


def test_a_fifo_within_a_checkpoint_is_damage_and_not_waited_for(copy):
    os.mkfifo(copy / "3" / "state" / "d" / "pipe")
    (copy / "2" / "meta" / "metadata").unlink()
    os.mkfifo(copy / "2" / "meta" / "metadata")
    assert restored(copy).step == 1


@pytest.mark.parametrize("name", ["a b,c", "100%?x#y", "line\nbreak", "ünïcode"])
def test_a_workdir_may_be_called_anything(saved, tmp_path, name):
    directory = Path(shutil.copytree(saved, tmp_path / name / "checkpoints"))
    checkpoints = Checkpoints(directory)
    checkpoints.save(4, state(4), META, final=True)
    checkpoints.close()
    assert int(restored(directory).state["step"]) == 4


# Readers beside a trainer -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("steps", [8, pytest.param(300, marks=pytest.mark.exhaustive)])
def test_readers_beside_a_trainer_raise_no_false_alarm(tmp_path, caplog, steps):
    deadline = time.monotonic() + 60
    directory, done = tmp_path / "checkpoints", threading.Event()
    trainer = Checkpoints(directory, keep_latest=1, keep_best=1)
    trainer.save(1, state(1), META, {"top1": 0.0}, final=True)

    def train():
        step = 2
        while not done.is_set():
            trainer.save(step, state(step), META, {"top1": step / 1e6})
            step += 1
        trainer.wait()

    thread = threading.Thread(target=train)
    thread.start()
    seen = set()
    try:
        while len(seen) < steps and time.monotonic() < deadline:
            found = restored(directory, choice=("latest", "best")[len(seen) % 2])
            assert int(found.state["step"]) == found.step
            seen.add(found.step)
    finally:
        done.set()
        thread.join()
        trainer.close()
    assert len(seen) >= 8, "nothing was deleted meanwhile"
    assert "damaged" not in caplog.text
    assert not list(directory.glob("*.corrupt*"))


def test_a_step_that_is_deleted_while_it_is_read_is_not_damaged(copy, monkeypatch, caplog):
    read = checkpoint_files.read_state

    def slow(directory, described, template):
        if described.step == 3:
            shutil.rmtree(copy / "3")
        return read(directory, described, template)

    monkeypatch.setattr(checkpoint_files, "read_state", slow)
    checkpoints = Checkpoints(copy, read_only=True)
    assert checkpoints.restore(state(0)).step == 2
    assert "damaged" not in caplog.text


# Strangers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", workdir.WRITTEN)
def test_no_link_of_a_workdir_is_written_through(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(victim)
    with pytest.raises(UserError, match="is a link") as info, workdir.locked(run):
        pass
    assert info.value.exit_code == EXIT_WORKDIR
    assert victim.read_text() == "mine"


def test_a_second_name_of_a_file_and_a_fifo_are_no_locks(tmp_path):
    (tmp_path / "victim").write_text("mine")
    os.link(tmp_path / "victim", tmp_path / ".lock")
    with pytest.raises(UserError, match="it has a second name"), workdir.locked(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "mine"
    (tmp_path / ".lock").unlink()
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(UserError, match="is not a regular file"), workdir.locked(tmp_path):
        pass


def test_a_workdir_may_be_a_link_and_its_checkpoints_may_not(tmp_path, copy):
    (tmp_path / "link").symlink_to(copy.parent)
    with workdir.locked(tmp_path / "link"):
        assert restored(tmp_path / "link" / "checkpoints").step == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checkpoints").symlink_to(copy)
    with pytest.raises(UserError, match="is a link, and checkpoints are deleted there"):
        Checkpoints(tmp_path / "other" / "checkpoints")
    assert restored(tmp_path / "other" / "checkpoints").step == 3


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog, number):
    def flock(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with workdir.locked(tmp_path):
        assert "has no locks" in caplog.text
    assert len(caplog.records) == 1


# The log of a run -------------------------------------------------------------------------------

LINES = {
    "not UTF-8": b'{"step": 2, "note": "\xff"}',
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "no step": b'{"loss": 1}',
    "step is text": b'{"step": "2"}',
    "half": b'{"step": 2, "lo',
    "NUL": b"\0" * 4096,
    "nested": b"[" * 99999,
    "long number": b'{"step": ' + b"9" * 9999 + b"}",
    "long": b'{"step": 2, "note": "' + b"x" * (3 << 20) + b'{"step": 3}"}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_lines_that_are_no_records_are_passed_over_and_said_once(tmp_path, line, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 4}\n')
    log = MetricWriter(tmp_path)
    assert log.records() == [{"step": 1}, {"step": 4}]
    log.rewind(1)
    log.record({"step": 2})
    log.close()
    assert [json.loads(text) for text in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
    ]
    assert caplog.text.count("are no records") == 1


def test_a_record_waits_for_space_and_the_last_one_must_have_it(tmp_path, monkeypatch, caplog):
    log = MetricWriter(tmp_path)

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(append, "append", full)
        log.record({"step": 1})
        log.record({"step": 2})
        assert caplog.text.count("No space left") == 1
        with pytest.raises(UserError, match=r"metrics\.jsonl: No space left") as info:
            log.write_csv()
        assert info.value.exit_code == EXIT_WORKDIR
    log.record({"step": 3})
    assert log.records() == [{"step": 1}, {"step": 2}, {"step": 3}]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_log_that_becomes_read_only_ends_the_run(tmp_path, monkeypatch, number):
    def refuse(path, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(append, "append", refuse)
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl") as info:
        MetricWriter(tmp_path).record({"step": 1})
    assert info.value.exit_code == EXIT_WORKDIR


@pytest.mark.parametrize("replaced", [False, True])
def test_a_workdir_that_is_moved_ends_the_run_and_is_not_made_again(tmp_path, replaced):
    run = tmp_path / "run"
    run.mkdir()
    log, checkpoints = MetricWriter(run), Checkpoints(run / "checkpoints")
    run.rename(tmp_path / "moved")
    if replaced:
        (run / "checkpoints").mkdir(parents=True)
    for write in (
        lambda: log.record({"step": 1}),
        log.write_csv,
        lambda: checkpoints.save(1, state(1), META),
    ):
        with pytest.raises(UserError, match="was removed or moved while the run") as info:
            write()
        assert info.value.exit_code == EXIT_WORKDIR
    log.close()
    checkpoints.close()
    assert [path.name for path in run.rglob("*")] == ["checkpoints"] * replaced


# Full disks and lost peers ----------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("left", [0, 4096, 100_000])
def test_a_disk_that_is_full_to_the_last_byte_is_tried_again(small_disk, left, caplog):
    big = {"w": np.random.default_rng(0).normal(size=60_000).astype(np.float32)}
    directory = small_disk / "checkpoints"
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, big, META, final=True)

    def fill():
        free = os.statvfs(small_disk)
        (small_disk / "full").write_bytes(b"x" * max(0, free.f_bavail * free.f_bsize - left))

    fill()
    checkpoints.save(2, big, META)
    checkpoints.save(3, big, META)
    assert "was not written; the run continues and tries again: No space left" in caplog.text
    assert 1 in checkpoint_files.steps(directory)
    (small_disk / "full").unlink()
    checkpoints.save(4, big, META, final=True)
    assert checkpoint_files.steps(directory) == [4]
    fill()
    with pytest.raises(UserError, match="No space left on device; free space") as info:
        checkpoints.save(5, big, META, final=True)
    assert info.value.exit_code == EXIT_WORKDIR
    checkpoints.close()
    assert checkpoint_files.steps(directory) == [4]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RuntimeError("DEADLINE_EXCEEDED: Barrier timed out"), EXIT_PEER_LOST, "process is lost"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), EXIT_PEER_LOST, "process is lost"),
        (FileNotFoundError(errno.ENOENT, "gone"), EXIT_PEER_LOST, "process is lost"),
        (ValueError("RESOURCE_EXHAUSTED [os_error_code='28']"), EXIT_WORKDIR, "No space left"),
        (OSError(errno.EROFS, "Read-only"), EXIT_WORKDIR, "make it writable"),
    ],
    ids=["barrier", "connection", "missing", "full", "read-only"],
)
def test_a_lost_peer_is_no_full_disk(tmp_path, monkeypatch, error, code, text):
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", fail)
        patch.setattr(jax, "process_count", lambda: 2)
        with pytest.raises(UserError, match=text) as info:
            checkpoints.save(1, state(1), META)
    assert info.value.exit_code == code
    checkpoints.close()


@pytest.mark.parametrize("name", ["/elsewhere/file", None])
def test_a_full_disk_elsewhere_is_not_the_workdir_s_fault(name, capfd):
    error = OSError(errno.ENOSPC, "No space left on device", name)
    with pytest.raises(SystemExit) as info, cli.mistakes_in_one_line(debug=False):
        raise error
    (line,) = capfd.readouterr().err.splitlines()
    assert "workdir" not in line
    assert "No space left on device" in line
    assert (name or "a file") in line
    assert info.value.code == EXIT_WORKDIR


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EMFILE])
def test_a_file_server_that_is_away_sets_nothing_aside(copy, monkeypatch, number):
    before = sorted(path.name for path in copy.iterdir())

    def away(*args):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files.safe_files, "read_json", away)
        with pytest.raises(UserError, match="cannot be read") as info:
            Checkpoints(copy, read_only=True).restore(None)
        assert info.value.exit_code == EXIT_WORKDIR
        with pytest.raises(UserError) as info:
            Checkpoints(copy)
        assert info.value.exit_code == EXIT_WORKDIR
    assert sorted(path.name for path in copy.iterdir()) == before


# Containers -------------------------------------------------------------------------------------


def test_a_user_without_a_home_keeps_programs_in_a_folder_of_its_own(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = paths.cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert paths.cache_folder() == folder
    folder.chmod(0o777)  # anybody may have put programs there
    assert paths.cache_folder() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert paths.cache_folder() is None


def test_a_user_without_a_home_is_told_which_folder_to_name(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    (finding,) = doctor._below("~/data")
    assert finding.state == doctor.OPTIONAL
    assert "HOME is not set" in finding.text
