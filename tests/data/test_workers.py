"""Batches and workers where a process dies, hangs, or is asked to stop."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from jaxcnn.data import load, pipeline, prefetch, worker
from jaxcnn.data.fields import BatchConfig
from jaxcnn.errors import EXIT_STUCK, UserError
from jaxcnn.run.preemption import StopRequest
from jaxcnn.training.loop import Loop

FIELDS = {"batch_size": 8, "seed": 3, "start_step": 0}


@pytest.fixture
def files(image_folder):
    return load("folder", "train", dir=image_folder(), image_size=16, train_crop="random_resized")


def workers(parent: int | None = None) -> list[int]:
    """Returns the process ids of the workers below a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if b"jaxcnn.data.worker" in command and above == (parent or os.getpid()):
                found.append(int(entry.name))
    return found


def in_shared_memory() -> set[str]:
    folder = Path("/dev/shm")  # noqa: S108
    return {path.name for path in folder.glob("psm_*")} if folder.is_dir() else set()


def gone(pids: list[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(
            Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
            for pid in pids
        ):
            return True
        time.sleep(0.05)
    return False


def test_closing_the_iterator_stops_the_workers(files):
    stream = pipeline.train_batches(files, BatchConfig(num_workers=2), num_steps=10**6, **FIELDS)
    next(stream)
    assert len(workers()) == 2
    stream.close()
    assert not workers()


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_the_batches_are_the_same(files, caplog, monkeypatch):
    logging.getLogger("jaxcnn").propagate = True
    monkeypatch.setattr(worker, "PIPE_BYTES", 4096)  # or a worker ends before it is killed
    whole = list(pipeline.train_batches(files, num_steps=30, **FIELDS))
    stream = pipeline.train_batches(files, BatchConfig(num_workers=2), num_steps=30, **FIELDS)
    batches = []
    for batch in stream:
        batches.append(batch)
        if len(batches) in (3, 12):
            os.kill(workers()[0], signal.SIGKILL)
    assert len(batches) == 30
    for ours, theirs in zip(batches, whole, strict=True):
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
    said = [
        record.message for record in caplog.records if "started again at step" in record.message
    ]
    assert len(said) == 2
    assert all("SIGKILL" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "exit", "hangs"])
def test_a_worker_that_never_gets_on_ends_the_run_in_one_line(how, monkeypatch):
    def make(step):
        from jaxcnn.data.worker import note

        note(7)
        if step == 1 and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 1 and how == "exit":
            os._exit(3)
        if step == 1:
            time.sleep(600)
        return {"x": np.full(3, step)}, []

    stream = prefetch.prefetch(make, 0, 4, 1, "photo {}.jpg".format)
    assert next(stream)[0]["x"].tolist() == [0, 0, 0]
    if how == "hangs":
        monkeypatch.setattr(prefetch, "HUNG", 1.5)
    expected = {
        "killed": "ended .SIGKILL., 3 times now: the memory may be full",
        "exit": "ended .exit code 3., 3 times",
        "hangs": "reading photo 7.jpg for 2 s, 3 times now: look at the file",
    }
    with pytest.raises(UserError, match=expected[how]) as caught:
        next(stream)
    assert caught.value.exit_code == EXIT_STUCK
    assert not workers()


@pytest.mark.slow
def test_a_hanging_file_is_named_and_then_ends_the_run_without_workers(monkeypatch, caplog):
    logging.getLogger("jaxcnn").propagate = True
    monkeypatch.setattr(prefetch, "HUNG", 0.3)
    monkeypatch.setattr(prefetch, "QUIET", 0.2)
    release = []

    def make(step):
        from jaxcnn.data.worker import note

        note(40 + step)
        while step == 2 and not release:
            time.sleep(0.05)
        return {"x": np.zeros(1)}, []

    stream = prefetch.prefetch(make, 0, 9, 0, "photo {}.jpg".format)
    next(stream)
    next(stream)
    with pytest.raises(UserError, match=r"reading photo 42\.jpg for the batch after step 2") as e:
        next(stream)
    assert e.value.exit_code == EXIT_STUCK
    release.append(True)
    assert any(
        "waiting for data" in r.message and "photo 42.jpg" in r.message for r in caplog.records
    )


def test_an_error_in_a_worker_keeps_its_kind_and_message():
    def refuses(step):
        raise UserError("this file is wrong", 65)

    def fails(step):
        raise ZeroDivisionError("by nothing")

    with pytest.raises(UserError, match="this file is wrong") as caught:
        list(prefetch.prefetch(refuses, 0, 2, 1))
    assert caught.value.exit_code == 65
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by nothing"):
        list(prefetch.prefetch(fails, 0, 2, 1))


SCRIPT = """
import sys
from jaxcnn.data import load, pipeline
from jaxcnn.data.fields import BatchConfig
files = load("folder", "train", dir=sys.argv[1], image_size=16)
stream = pipeline.train_batches(
    files, BatchConfig(num_workers=2), batch_size=8, seed=0, start_step=0,
    num_steps=10**6)
next(stream)
print("ready", flush=True)
for batch in stream:
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_of_an_unguarded_script_end_with_it_whatever_ends_it(number, image_folder):
    before = in_shared_memory()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, image_folder()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        pids = workers(run.pid)
        assert len(pids) == 2
        if number == signal.SIGKILL:  # of the main process alone
            run.kill()
        else:
            os.killpg(run.pid, number)
        errors = run.communicate(timeout=20)[1]
        assert gone(pids, 10)
    assert errors.count("Traceback") == (number == signal.SIGINT)  # the main process's own
    assert "leaked" not in errors
    assert in_shared_memory() <= before


def test_the_state_is_saved_where_the_data_end_a_run():
    def no_batches():
        raise UserError("a data worker ended, 3 times now", EXIT_STUCK)
        yield

    saved = []
    run = Loop.__new__(Loop)
    run._run = mock.Mock(stop=StopRequest(print))
    run._alone, run._saved, run.step = True, 4, 6
    run._save = lambda **fields: saved.append((run.step, fields))
    with pytest.raises(UserError, match="3 times"), run._run.stop.deferred():
        run._next(no_batches(), resized=False)
    assert saved == [(6, {"final": True})]
