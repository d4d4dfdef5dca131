"""A run that is stopped, killed or damaged ends with the same bits as one that is not."""

import dataclasses
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from jaxcnn.data import normalization
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate
from jaxcnn.run.workdir import STATISTICS
from tests.marks import exhaustive
from tests.runs import TINY, digest_of_newest, finish, lasting, records, start


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("unbroken")
    finish(start(*TINY, f"--workdir={workdir}"))
    return workdir


def wait_for_step(workdir: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(record["step"] >= step for record in records(workdir)):
        assert time.monotonic() < deadline, "no such step in two minutes"
        time.sleep(0.02)


def run_with_kills(workdir: Path, kills: int, seed: int) -> None:
    """Kills −9 at random moments between the first step of a process and its end."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(kills):
        process = start(*TINY, f"--workdir={workdir}")
        before = len(records(workdir))
        while process.poll() is None and len(records(workdir)) <= before:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.6))
        process.kill()
        process.communicate()
    finish(start(*TINY, f"--workdir={workdir}"))


def assert_same_end(workdir: Path, unbroken: Path) -> None:
    assert digest_of_newest(workdir) == digest_of_newest(unbroken)
    assert records(workdir)[-1]["state_sha256"] == records(unbroken)[-1]["state_sha256"]
    assert lasting(workdir) == lasting(unbroken)


@pytest.mark.exhaustive
def test_an_evaluation_normalises_with_the_statistics_of_the_run(unbroken):
    """To the last record's figures; others are refused, and measured anew in training."""
    last = records(unbroken)[-1]
    found = evaluate.run(unbroken)
    assert found["test/loss"] == pytest.approx(last["test/loss"], rel=1e-5)
    path = unbroken / STATISTICS
    kept = path.read_bytes()
    try:
        statistics, about = normalization.read(path)
        other = dataclasses.replace(statistics, whiten=2 * statistics.whiten)
        normalization.write(path, other, about)
        with pytest.raises(
            UserError, match=r"statistics\.npz is not the file that the checkpoint was"
        ):
            evaluate.run(unbroken)
    finally:
        path.write_bytes(kept)


@pytest.mark.slow
def test_three_kills(tmp_path, unbroken):
    run_with_kills(tmp_path, 3, seed=1)
    assert_same_end(tmp_path, unbroken)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [2, 3])
def test_ten_kills(tmp_path, unbroken, seed):
    run_with_kills(tmp_path, 10, seed)
    assert_same_end(tmp_path, unbroken)


@pytest.mark.exhaustive
def test_sigterm_saves_the_last_logged_step_and_exits_143(tmp_path, unbroken):
    process = start(*TINY, f"--workdir={tmp_path}")
    wait_for_step(tmp_path, 5)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=143)
    last = records(tmp_path)[-1]["step"]
    assert int(digest_of_newest(tmp_path)["newest"]) == last < 24
    assert f"step {last}" in err
    finish(start(*TINY, f"--workdir={tmp_path}"))
    assert_same_end(tmp_path, unbroken)


@pytest.mark.exhaustive
def test_steps_in_one_call_end_with_the_same_bits_stopped_or_not(tmp_path, unbroken):
    flags = (*TINY, "--config.train.steps_per_call=5", f"--workdir={tmp_path}")
    flags += ("--config.log.every=4steps", "--config.checkpoint.every=never")
    process = start(*flags)
    wait_for_step(tmp_path, 4)
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    finish(start(*flags))
    assert digest_of_newest(tmp_path) == digest_of_newest(unbroken)
    found, expected = records(tmp_path), records(unbroken)
    assert found[-1]["state_sha256"] == expected[-1]["state_sha256"]
    evaluations = [[r for r in kept if "validation/top1" in r] for kept in (found, expected)]
    assert evaluations[0] == evaluations[1]


def flip_bit(step: Path) -> None:
    largest = max((step / "state").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def truncate(step: Path) -> None:
    largest = max((step / "state").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def remove_item(step: Path) -> None:
    shutil.rmtree(step / "digests")


def change_description(step: Path) -> None:
    path = step / "meta" / "metadata"
    path.write_text(path.read_text().replace("0.9", "0.8"))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("interrupted")
    process = start(*TINY, f"--workdir={workdir}")
    wait_for_step(workdir, 10)
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [flip_bit, *map(exhaustive, (truncate, remove_item, change_description))]
)
def test_damaged_checkpoint_is_set_aside_and_the_run_goes_on(
    tmp_path, unbroken, interrupted, damage
):
    workdir = shutil.copytree(interrupted, tmp_path / "run")
    newest = workdir / "checkpoints" / digest_of_newest(workdir)["newest"]
    damage(newest)
    out, err = finish(start(*TINY, f"--workdir={workdir}"))
    assert (newest.parent / f"{newest.name}.corrupt").is_dir()
    assert str(newest) in err
    assert "damaged" in err
    continued = int(re.search(r"continues\s+from step (\d+)", out)[1])
    assert 0 < continued < int(newest.name)
    assert_same_end(workdir, unbroken)


@pytest.mark.slow
def test_finished_run_prints_its_result_again_and_changes_nothing(unbroken):
    before = (unbroken / "metrics.jsonl").read_bytes()
    out, _ = finish(start(*TINY, f"--workdir={unbroken}"))
    assert "is finished" in out
    assert out.splitlines()[-1].startswith("step 24: test top1")
    assert (unbroken / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_changed_config_is_refused_with_the_difference(unbroken):
    changed = (*TINY, f"--workdir={unbroken}", "--config.optimizer.momentum=0.5")
    _, err = finish(start(*changed), code=2)
    assert err.count("\n") == 1
    assert "optimizer.momentum 0.9 → 0.5" in err


@pytest.mark.slow
def test_second_run_in_a_workdir_is_refused(tmp_path):
    first = start(*TINY, f"--workdir={tmp_path}")
    wait_for_step(tmp_path, 1)
    first.send_signal(signal.SIGSTOP)  # it would end before the second has begun
    _, err = finish(start(*TINY, f"--workdir={tmp_path}"), code=73)
    assert f"process {first.pid}" in err
    first.kill()
    first.communicate()
