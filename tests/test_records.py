"""The records of a run that was interrupted are those of an unbroken one, but for times."""

import os
import signal

import pytest

from jaxcnn import papers, programs, train
from tests.runs import lasting


class CrashError(Exception):
    """As a killed process: nothing is saved at that moment."""


def crash():
    raise CrashError


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


class Build:
    """Builds once; before a step it may do something."""

    def __init__(self):
        self.built, self.at, self.happens = None, 0, crash

    def __call__(self, *given):
        if self.built is None:
            self.built = programs.build(*given)
        step = self.built.train_step

        def watched(state, batch):
            if self.at and int(state.step) + 1 >= self.at:
                self.at = 0
                self.happens()
            return step(state, batch)

        watched.lower = step.lower
        return self.built._replace(train_step=watched)


@pytest.fixture(scope="module")
def build():
    return Build()


def make_config(**lengths):
    config = papers.deep_plain.highway("highway_fc10", "digits")
    config.data.update(image_size=8, pad=0, holdout=40)
    config.train.update(length="20steps", batch_size=16)
    config.eval.every = "10steps"
    config.log.every, config.checkpoint.every = lengths["log"], lengths["checkpoint"]
    return config


@pytest.mark.parametrize(
    ("log", "checkpoint", "stops"),
    [
        ("7steps", "5steps", [(terminate, 3), (crash, 13), (terminate, 17)]),
        ("4steps", "6steps", [(crash, 8), (terminate, 8), (crash, 20)]),
        ("never", "never", [(terminate, 5), (terminate, 12), (crash, 14)]),
    ],
)
def test_an_interrupted_run_has_the_records_of_an_unbroken_one(
    tmp_path, build, log, checkpoint, stops
):
    config = make_config(log=log, checkpoint=checkpoint)
    train.run(config, tmp_path / "unbroken", build=build)
    expected = lasting(tmp_path / "unbroken")
    assert {"train/loss", "validation/loss", "test/loss"} <= {key for r in expected for key in r}
    for build.happens, build.at in stops:
        before = build.at
        ends = CrashError if build.happens is crash else train.InterruptedRunError
        with pytest.raises(ends):
            train.run(config, tmp_path / "broken", build=build)
        assert (
            lasting(tmp_path / "broken")
            == [record for record in expected if record["step"] <= before][
                : len(lasting(tmp_path / "broken"))
            ]
        )
    train.run(config, tmp_path / "broken", build=build)
    assert lasting(tmp_path / "broken") == expected


def test_a_run_killed_after_its_last_checkpoint_has_the_whole_result(tmp_path, build, monkeypatch):
    config = make_config(log="7steps", checkpoint="5steps")
    unbroken = train.run(config, tmp_path / "unbroken", build=build)
    with monkeypatch.context() as patch:
        patch.setattr(train, "state_sha256", lambda variables: crash())
        with pytest.raises(CrashError):
            train.run(config, tmp_path / "broken", build=build)
    assert train.run(config, tmp_path / "broken", build=build) == unbroken
