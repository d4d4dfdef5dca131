"""How many steps are one call."""

import time
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.run import distributed
from jaxcnn.training import steps_per_call, train

BATCH = {"image": np.zeros((8, 4, 4, 1), np.uint8), "label": np.zeros(8, np.int32)}


def slow_program(call, step):
    """A program that sleeps: for each call, and for each of its steps."""

    def run(state, batch):
        time.sleep(call + step * int(batch.get("count", np.ones(1))[0]))
        return {"params": state["params"] + 1}, {"loss": state["params"]}

    return distributed.Program(run, ())


@pytest.mark.parametrize(
    ("call", "step", "joined", "left", "started", "several"),
    [
        (0.004, 0.001, 0.001, 10_000, 1.0, True),  # calls cost most
        (0.001, 0.004, 0.008, 10_000, 1.0, False),  # the other program is slower
        (0.03, 0.001, 0.001, 10_000, 1.0, False),  # steps are long enough
        (0.004, 0.001, 0.001, 100, 1.0, False),  # the run is too short to measure
        (0.004, 0.001, 0.001, 1, 0.0, False),
        (0.3, 0.001, 0.001, 10_000, 1.0, False),  # one step shows it
    ],
)
def test_several_steps_where_calls_cost_time(call, step, joined, left, started, several):
    state = distributed.replicate({"params": jnp.zeros(())})
    programs = SimpleNamespace(
        train_step=slow_program(call, step), train_steps=slow_program(call, joined)
    )
    chosen = steps_per_call.choose(programs, state, BATCH, left, started)
    assert (chosen > 1) is several
    assert chosen <= min(left, steps_per_call.MOST)


def test_batches_of_a_call_have_room(monkeypatch):
    monkeypatch.setattr(steps_per_call, "ROOM", 3 * sum(x.nbytes for x in BATCH.values()))
    state = distributed.replicate({"params": jnp.zeros(())})
    program = slow_program(0.004, 0.001)
    programs = SimpleNamespace(train_step=program, train_steps=program)
    assert steps_per_call.choose(programs, state, BATCH, 10_000, 1.0) == 3


def test_a_large_state_is_not_copied(monkeypatch):
    """It might not fit the device twice."""
    monkeypatch.setattr(steps_per_call, "ROOM", 3)

    def fail(*arguments):
        raise AssertionError("no step is run")

    programs = SimpleNamespace(train_step=fail, train_steps=fail)
    state = distributed.replicate({"params": jnp.zeros(())})
    assert steps_per_call.choose(programs, state, BATCH, 10_000, 1.0) == 1


def test_a_config_that_is_not_frozen_is_answered(tmp_path):
    with pytest.raises(UserError, match=r"config_dict\.freeze"):
        train.run(recipes.recipe("lenet5"), tmp_path)


@pytest.mark.slow
def test_a_chosen_number_changes_no_bit(tmp_path, monkeypatch, capsys):
    def trained(name, steps):
        config = recipes.recipe("lenet5")
        config.train.update(length="12steps", steps_per_call=steps)
        config.log.every, config.eval.every = "5steps", "7steps"
        config.schedule.warmup = "0steps"
        return train.run(freeze(config), str(tmp_path / name))["state_sha256"]

    monkeypatch.setattr(steps_per_call, "WORTH", 0)
    monkeypatch.setattr(steps_per_call, "GAIN", float("inf"))
    assert trained("chosen", 0) == trained("single", 1)
    assert "calls      of " in capsys.readouterr().out
