"""The records of a run that was interrupted are those of an unbroken one, but for times."""

import os
import shutil
import signal
import time

import pytest

from jaxcnn.config import programs, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.training import train
from tests.marks import exhaustive
from tests.runs import digest_of_newest, lasting, records


class CrashError(Exception):
    """As a killed process: nothing is saved at that moment."""


def crash():
    raise CrashError


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)  # the handler is called between two instructions


class Build:
    """Builds once; before a step, or in an evaluation, it may do something."""

    def __init__(self):
        self.built, self.at, self.happens = None, 0, crash
        self.evaluations = 0  # of which the last is the one in which it happens

    def __call__(self, *given):
        if self.built is None:
            self.built = programs.make_programs(*given)
        step = self.built.train_step

        def watched(state, batch):
            if self.at and int(state.step) + 1 >= self.at:
                self.at = 0
                self.happens()
            return step(state, batch)

        evaluate = self.built.evaluate

        def evaluated(*given):
            self.evaluations -= 1
            if self.evaluations == 0:
                self.happens()
            return evaluate(*given)

        watched.lower = step.lower
        return self.built._replace(train_step=watched, evaluate=evaluated)


@pytest.fixture(scope="module")
def build():
    return Build()


def make_config(**lengths):
    config = recipes.recipe("highway_fc10", "digits")
    config.data.update(image_size=8, pad=0, holdout=40)
    config.train.update(length="20steps", batch_size=16)
    config.eval.every = "10steps"
    config.log.every, config.checkpoint.every = lengths["log"], lengths["checkpoint"]
    return config


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("log", "checkpoint", "stops"),
    [
        ("7steps", "5steps", [(terminate, 3), (crash, 13), (terminate, 17)]),
        pytest.param(
            *("4steps", "6steps", [(crash, 8), (terminate, 8), (crash, 20)]),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            *("never", "never", [(terminate, 5), (terminate, 12), (crash, 14)]),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_an_interrupted_run_has_the_records_of_an_unbroken_one(
    tmp_path, build, log, checkpoint, stops
):
    config = make_config(log=log, checkpoint=checkpoint)
    train.run(freeze(config), tmp_path / "unbroken", make_programs=build)
    expected = lasting(tmp_path / "unbroken")
    assert {"train/loss", "validation/loss", "test/loss"} <= {key for r in expected for key in r}
    for build.happens, build.at in stops:
        before = build.at
        ends = CrashError if build.happens is crash else train.InterruptedRunError
        with pytest.raises(ends):
            train.run(freeze(config), tmp_path / "broken", make_programs=build)
        assert (
            lasting(tmp_path / "broken")
            == [record for record in expected if record["step"] <= before][
                : len(lasting(tmp_path / "broken"))
            ]
        )
    train.run(freeze(config), tmp_path / "broken", make_programs=build)
    assert lasting(tmp_path / "broken") == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("checkpoint", "number"),
    [exhaustive("never", 1), exhaustive("10steps", 1), ("6steps", 2)],
)
def test_an_evaluation_that_was_stopped_is_done_again(tmp_path, build, checkpoint, number):
    config = make_config(log="7steps", checkpoint=checkpoint)
    config.checkpoint.keep_best = 1
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train.run(freeze(config), unbroken, make_programs=build)
    build.evaluations, build.happens = number, terminate
    with pytest.raises(train.InterruptedRunError, match=f"SIGTERM at step {10 * number}, saved"):
        train.run(freeze(config), broken, make_programs=build)
    assert records(broken)[-1]["step"] == 10 * number, "the steps before it are recorded"
    assert "validation/loss" not in records(broken)[-1]
    build.evaluations, build.happens = 1, crash  # what was saved says what is to be done
    with pytest.raises(CrashError):
        train.run(freeze(config), broken, make_programs=build)
    train.run(freeze(config), broken, make_programs=build)
    assert lasting(broken) == lasting(unbroken)
    assert digest_of_newest(broken) == digest_of_newest(unbroken)
    kept = [Checkpoints(folder / "checkpoints", read_only=True) for folder in (broken, unbroken)]
    assert kept[0].best() == kept[1].best()


@pytest.mark.slow
def test_the_last_test_that_was_stopped_is_done_again(tmp_path, build, monkeypatch):
    config = make_config(log="7steps", checkpoint="5steps")
    unbroken = train.run(freeze(config), tmp_path / "unbroken", make_programs=build)
    with monkeypatch.context() as patch:
        patch.setattr(train, "make_evaluator", lambda *_, **__: lambda *_: terminate())
        with pytest.raises(train.InterruptedRunError, match="at step 20, saved"):
            train.run(freeze(config), tmp_path / "broken", make_programs=build)
    assert train.run(freeze(config), tmp_path / "broken", make_programs=build) == unbroken
    assert lasting(tmp_path / "broken") == lasting(tmp_path / "unbroken")


@pytest.mark.slow
def test_a_run_killed_after_its_last_checkpoint_has_the_whole_result(tmp_path, build, monkeypatch):
    config = make_config(log="7steps", checkpoint="5steps")
    unbroken = train.run(freeze(config), tmp_path / "unbroken", make_programs=build)
    with monkeypatch.context() as patch:
        patch.setattr(train, "state_sha256", lambda variables: crash())
        with pytest.raises(CrashError):
            train.run(freeze(config), tmp_path / "broken", make_programs=build)
    assert train.run(freeze(config), tmp_path / "broken", make_programs=build) == unbroken


DAMAGES = [
    lambda line: line.replace('"test/top1": 0.', '"test/top1": 0.9'),
    lambda line: line.replace('"state_sha256": "', '"state_sha256": "0'),
    lambda line: line.replace('"protocol": "', '"protocol": "x'),
    lambda line: line[: line.index(', "record_sha256"')] + "}",
    lambda line: "",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [DAMAGES[0], *(pytest.param(d, marks=pytest.mark.exhaustive) for d in DAMAGES[1:])]
)
def test_a_result_is_believed_as_it_was_written_and_else_made_again(tmp_path, build, damage):
    config = make_config(log="7steps", checkpoint="5steps")
    train.run(freeze(config), tmp_path, make_programs=build)
    path = tmp_path / "metrics.jsonl"
    before = path.read_text()
    *lines, last = before.splitlines()
    assert damage(last) != last
    path.write_text("".join(f"{line}\n" for line in (*lines, damage(last)) if line))
    train.run(freeze(config), tmp_path, make_programs=build)
    assert path.read_text() == before
    train.run(freeze(config), tmp_path, make_programs=build)
    assert path.read_text() == before


@pytest.mark.exhaustive
def test_a_result_of_other_weights_is_not_the_checkpoint_s(tmp_path, build):
    config = make_config(log="7steps", checkpoint="5steps")
    train.run(freeze(config), tmp_path / "a", make_programs=build)
    other = make_config(log="7steps", checkpoint="5steps")
    other.seed = config.seed + 1
    train.run(freeze(other), tmp_path / "b", make_programs=build)
    shutil.copy(tmp_path / "a" / "metrics.jsonl", tmp_path / "b")
    train.run(freeze(other), tmp_path / "b", make_programs=build)
    results = [records(tmp_path / name)[-1] for name in "ab"]
    assert results[0]["state_sha256"] != results[1]["state_sha256"]
