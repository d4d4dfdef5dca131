"""Two processes of one run: a signal to both, and the loss of one, at any moment."""

import signal
import socket
import time

import jax
import numpy as np
import pytest

from jaxcnn.run import distributed
from tests import faults
from tests.runs import ROOT, digest_of_newest, lasting, records

SMALL = (
    "--config.train.length=12steps",
    "--config.log.every=1steps",
    "--config.eval.every=5steps",
    "--config.eval.batch_size=4",
)


class Clocks:
    """Two processes with clocks of their own, one after the other in this one."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.gathered = [0.0, 0.0], seconds, []
        self.flags = [False, False]
        self.agreements = []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(distributed.time, "monotonic", lambda: self.now[self.turn])
        monkeypatch.setattr(distributed.multihost_utils, "process_allgather", self.gather)
        for self.turn in (0, 1):
            flag = lambda turn=self.turn: self.flags[turn]  # noqa: E731
            self.agreements.append(distributed.Agreement(flag))

    def gather(self, mine):
        other = np.array([self.flags[1 - self.turn], 0.0], np.float32)
        times = [each._since for each in self.agreements]
        other[1] = self.now[1 - self.turn] - times[1 - self.turn]
        if self.turn == 1:  # the first one has gathered already and begun anew
            other = self.first
        self.first = mine
        self.gathered.append(self.turn)
        return np.stack([mine, other])

    def call(self):
        """All processes have done one more piece of work; returns what they hear."""
        self.now = [now + seconds for now, seconds in zip(self.now, self.seconds, strict=True)]
        heard = []
        for self.turn in (0, 1):
            heard.append(self.agreements[self.turn]())
        return heard


@pytest.mark.parametrize("seconds", [(0.001, 0.003), (0.3, 0.01), (5.0, 2.0), (0.0, 0.0)])
def test_processes_agree_at_the_same_calls_about_once_a_second(monkeypatch, seconds):
    clocks = Clocks(monkeypatch, seconds)
    for _ in range(300):
        assert clocks.call() == [False, False]
    assert clocks.gathered == [0, 1] * (len(clocks.gathered) // 2)
    most = max(2.0, 300 * max(seconds))
    assert len(clocks.gathered) // 2 <= most + 2 * np.log2(distributed.MOST_CALLS) + 300 / 50
    begun, clocks.flags[1] = clocks.now[0], True
    while not any(heard := clocks.call()):
        pass
    assert heard == [True, True]
    assert clocks.now[0] - begun <= max(1.5, max(seconds))


def start_two(folder, *flags, module="tests/slow_main.py", slow=0.3):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    runs = []
    for number in (0, 1):
        place = folder / f"process{number}"
        place.mkdir(exist_ok=True)
        runs.append(
            faults.start(
                module,
                f"--config={ROOT}/configs/lenet5.py",
                *flags,
                f"--workdir={folder / 'run'}",
                f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2",
                f"--process_id={number}",
                folder=place,
                SLOW=str(slow),
            )
        )
    return runs


CONV = "--config.model.name=cifar_resnet20"  # has BatchNorm
RECALIBRATED = (*SMALL, CONV, "--config.eval.recalibrate_batches=150")
# Last record before the signal, flags, and seconds from that record to the signal.
MOMENTS = {
    "compiles the evaluation": (5, (*SMALL, CONV), 1),
    "evaluation": (10, SMALL, 3),
    "final test": (12, (*SMALL, "--config.eval.every=never", "--config.eval.protocol=flip"), 3),
    "compiles the recalibration": (5, RECALIBRATED, 1),
    "recalibration": (10, RECALIBRATED, 3),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_two_processes_wherever_they_are(tmp_path, moment, number):
    step, flags, seconds = MOMENTS[moment]
    runs = start_two(tmp_path, *flags)
    runs[0].wait_for(lambda: any(each["step"] == step for each in records(tmp_path / "run")))
    time.sleep(seconds)
    for run in runs:
        run.send(number)
    assert [run.end() for run in runs] == [128 + number] * 2
    assert f"at step {step}, saved" in runs[0].said
    assert records(tmp_path / "run")[-1]["step"] == step
    (tmp_path / "unbroken").mkdir()
    for folder in (tmp_path, tmp_path / "unbroken"):
        assert [run.end(120) for run in start_two(folder, *flags, slow=0)] == [0, 0]
    unbroken = tmp_path / "unbroken" / "run"
    assert lasting(tmp_path / "run") == lasting(unbroken)
    assert digest_of_newest(tmp_path / "run") == digest_of_newest(unbroken)


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("moment", ["step", "save", "evaluation"])
@pytest.mark.parametrize("trial", range(3))
def test_a_lost_peer_is_exit_code_75(tmp_path, moment, victim, trial):
    rare = "--config.log.every=20steps" if moment == "step" else "--config.log.every=1steps"
    often = "1steps" if moment == "save" else "1000000steps"
    evaluate = "5steps" if moment == "evaluation" else "never"
    runs = start_two(
        tmp_path,
        "--config.train.length=1000000steps",
        "--config.eval.batch_size=4",
        f"--config.eval.every={evaluate}",
        f"--config.checkpoint.every={often}",
        rare,
        slow=0.1,
    )
    runs[0].wait_for(lambda: len(records(tmp_path / "run")) >= 5)
    time.sleep(0.3 + 0.4 * trial)
    runs[victim].send(signal.SIGKILL)
    left = runs[1 - victim]
    left.sent = time.monotonic()
    assert left.end(45) == 75
    assert "is lost" in left.said.splitlines()[-1]
    assert "start the run again" in left.said.splitlines()[-1]
    assert runs[victim].end() == 137
