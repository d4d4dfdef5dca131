"""Moving averages fit the length of a run, and one that cannot says so at the start."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import build, recipes
from jaxcnn.config.config_dict import base_config
from jaxcnn.run import progress
from jaxcnn.training import averages
from jaxcnn.training.schedules import Plan

STATISTICS = {"stem": {"norm": {"mean": np.zeros(2), "var": np.ones(2)}}}


def mobilenet(**overrides):
    config = recipes.recipe("mobilenet_v1_025")
    config.model.overrides.update(overrides)
    return config


def said(config, total=180, batch_stats=STATISTICS):
    form = types.SimpleNamespace(batch_stats=batch_stats)
    return averages.lines(config, form, 10, Plan(total, 23, None, None, None))


@pytest.mark.parametrize("total", [1, 2, 7, 180, 600])
def test_statistics_of_a_short_run_forget_their_initial_values(total):
    config = mobilenet()
    model = averages.fit(build.make_model(config, 10), config, total)
    assert model.norm_momentum == pytest.approx(min(0.9, averages.INITIAL_SHARE ** (1 / total)))
    assert model.norm_momentum**total < 1.01e-5
    assert model.name is None
    line = said(config, total)["statistics"]
    assert f"{model.norm_momentum:.4g}" in line
    assert "network's 0.99," in line
    assert f"after {total:,} steps" in line


def test_statistics_of_a_long_run_are_the_networks():
    config = mobilenet()
    model = build.make_model(config, 10)
    assert averages.fit(model, config, 1150) is model
    assert said(config, 1150) == {}


def test_microbatches_count():
    config = mobilenet()
    config.train.grad_accum_steps = 4
    model = build.make_model(config, 10)
    assert averages.fit(model, config, 287) is model
    assert averages.fit(model, config, 280).norm_momentum == 0.9
    assert averages.fit(model, config, 10).norm_momentum ** 40 == pytest.approx(1e-5)


def test_a_given_momentum_counts_and_is_warned_of():
    config = mobilenet(norm_momentum=0.9997)
    model = averages.fit(build.make_model(config, 10), config, 180)
    assert model.norm_momentum == 0.9997
    line = said(config)["statistics"]
    assert line.startswith("warning: with norm_momentum=0.9997 94.7 % of the initial statistics")
    assert "0.938 or less" in line
    assert said(mobilenet(norm_momentum=0.9)) == {}


def test_statistics_measured_anew_or_frozen_or_absent_are_left_alone():
    config = mobilenet(norm_momentum=0.9997)
    config.eval.recalibrate_batches = 4
    assert said(config) == {}
    assert averages.norm_momentum(config, 0.99, 180) == 0.99
    config = mobilenet()
    config.optimizer.freeze = ("^stem/",)
    assert said(config) == {}
    assert said(config, batch_stats=STATISTICS | {"stage1": STATISTICS["stem"]}) != {}
    assert said(mobilenet(), batch_stats={}) == {}


def test_averaged_weights_that_are_still_the_initial_ones_are_warned_of():
    config = recipes.recipe("resnet50_modern")
    config.train.ema_decay = 0.9999
    assert said(config, 150) == {}, "the warm-up forgets them"
    config.train.ema_warmup = False
    assert said(config, 150)["averages"].startswith(
        "warning: with train.ema_decay=0.9999 and no train.ema_warmup the averaged weights are"
        " still 98.5 % the initial ones after 150 steps"
    )
    config.train.ema_decay = 0.9
    assert said(config, 150) == {}


@pytest.mark.parametrize(
    ("per_step", "said_at", "expected"),
    [
        (0.2, 13, "about 43 s for 180 steps, besides evaluations"),  # ten are over, two more begun
        (2.6, 9, "about 9 min for 180 steps, besides evaluations"),  # 20 seconds are over
        (30, 2, "about 90 min for 180 steps, besides evaluations"),
        (300, 2, "about 15.0 h for 180 steps, besides evaluations"),
    ],
)
def test_a_run_says_early_how_long_it_will_take(per_step, said_at, expected, monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    window = progress.ProgressMeter(base_config(), None, Plan(180, 23, None, None, None), 0)
    found = {}
    now += 60  # compilation
    for step in range(1, 20):
        window.add(range(step, step + 1), {"loss": jnp.zeros(())})
        if line := window.estimate():
            found[step] = line
        now += per_step
    assert found == {said_at: expected}
