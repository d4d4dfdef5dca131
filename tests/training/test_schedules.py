import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import build
from jaxcnn.config.config_dict import base_config, freeze
from jaxcnn.errors import UserError
from jaxcnn.training.fields import ScheduleConfig
from jaxcnn.training.lengths import length_in_steps
from jaxcnn.training.schedules import Plan, is_due, make_schedule

EPOCH = Fraction(1437, 64)  # no whole number of steps


def schedule_of(name, rate, *, total_steps, **fields):
    config = ScheduleConfig(name=name, learning_rate=rate, **fields)
    return make_schedule(config, total_steps=total_steps, steps_per_epoch=Fraction(100))


def rates(steps, *args, **kwargs):
    """The schedule as a training step sees it: jitted, of an int32 step."""
    schedule = jax.jit(schedule_of(*args, **kwargs))
    return [float(schedule(jnp.int32(step))) for step in steps]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("90epochs", 90 * EPOCH),
        ("1epoch", EPOCH),
        ("0.5 epochs", EPOCH / 2),
        ("64000steps", 64000),
        ("1 step", 1),
        ("  8 epochs ", 8 * EPOCH),
        ("0steps", 0),
        ("never", None),
    ],
)
def test_a_length_is_exact_in_steps(text, steps):
    assert length_in_steps(text, EPOCH) == steps


@pytest.mark.parametrize(
    "text", ["", "90", "epochs", "-1epochs", "1e3steps", "8 epoch s", "2hours", "never ever"]
)
def test_another_text_is_no_length(text):
    with pytest.raises(UserError, match=r"is not a length.*8epochs"):
        length_in_steps(text, EPOCH)


@pytest.mark.parametrize(
    "period",
    [Fraction(1), Fraction(7), EPOCH, EPOCH / 3, 2 * EPOCH, Fraction(1, 3), Fraction(5, 2)],
)
def test_a_period_is_due_on_the_first_step_that_reaches_each_multiple(period):
    due = [step for step in range(1, 501) if is_due(step, period)]
    reached = sorted({math.ceil(k * period) for k in range(1, 1501)})
    assert due == [step for step in reached if step <= 500]


@pytest.mark.parametrize("most", [1, 4, 100])
@pytest.mark.parametrize("start", [0, 9, 60])
def test_calls_end_where_something_is_due(start, most):
    plan = Plan(60, EPOCH, log=Fraction(7), evaluate=EPOCH, save=None)
    calls = list(plan.calls(start, most))
    assert [step for steps in calls for step in steps] == list(range(start + 1, 61))
    for steps in calls:
        assert len(steps) <= most
        assert not any(is_due(s, plan.log) or is_due(s, plan.evaluate) for s in steps[:-1])
        last = steps[-1]
        due = last == 60 or is_due(last, plan.log) or is_due(last, plan.evaluate)
        assert due or len(steps) == most


def test_calls_end_where_a_checkpoint_is_kept():
    plan = Plan(20, EPOCH, None, None, None, keep=(3, 4, 99))
    assert [(steps[0], steps[-1]) for steps in plan.calls(0, 10)] == [
        (1, 3),
        (4, 4),
        (5, 14),
        (15, 20),
    ]


def test_a_kept_step_is_the_first_that_reaches_its_length():
    config = base_config()
    config.train.update(length="10epochs", batch_size=64)
    config.checkpoint.keep_at = ("2epochs", "1epochs", "7steps", "99epochs", "0.5epochs")
    plan = build.make_plan(freeze(config), 100)  # 1.5625 steps an epoch
    assert plan.keep == (1, 2, 4, 7, 155)


def test_never_and_nothing_are_never_due():
    assert not any(is_due(step, None) or is_due(step, Fraction(0)) for step in range(1, 100))


def test_constant():
    assert rates([0, 1, 10**6], "constant", 0.3, total_steps=10) == pytest.approx([0.3] * 3)


def test_step_drops_on_the_boundary_step():
    boundaries = ("32000steps", "48000steps")
    steps = [0, 31999, 32000, 47999, 48000, 63999]
    expected = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    found = rates(steps, "step", 0.1, total_steps=64000, boundaries=boundaries)
    assert found == pytest.approx(expected)
    found = rates(steps, "step", 0.1, total_steps=64000, boundaries=boundaries, factor=0.5)
    assert found == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_exponential_is_a_staircase_of_every_two_epochs():
    steps = [0, 199, 200, 399, 400, 2000]
    found = rates(steps, "exponential", 0.045, total_steps=1, factor=0.94, every="2epochs")
    assert found == pytest.approx([0.045 * 0.94**drops for drops in (0, 0, 1, 1, 2, 10)])


def test_exponential_without_its_length_is_refused():
    with pytest.raises(UserError, match=r"schedule\.every"):
        schedule_of("exponential", 0.1, total_steps=10)


def test_cosine_from_the_peak_to_zero():
    found = rates([0, 25, 50, 100, 150], "cosine", 0.4, total_steps=100)
    quarter = 0.4 * (1 + math.sqrt(0.5)) / 2
    assert found == pytest.approx([0.4, quarter, 0.2, 0.0, 0.0], abs=1e-7)


def test_cosine_ends_at_its_final_fraction():
    found = rates([0, 50, 100], "cosine", 0.4, total_steps=100, final_fraction=0.1)
    assert found == pytest.approx([0.4, 0.22, 0.04])


def test_polynomial():
    line = rates([0, 25, 100, 200], "polynomial", 0.4, total_steps=100, final_fraction=0.5)
    assert line == pytest.approx([0.4, 0.35, 0.2, 0.2])
    square = rates([0, 50, 100], "polynomial", 0.4, total_steps=100, power=2.0)
    assert square == pytest.approx([0.4, 0.1, 0.0], abs=1e-7)


@pytest.mark.parametrize(("name", "middle"), [("cosine", 0.2), ("polynomial", 0.2)])
def test_an_annealing_begins_where_the_warm_up_ends(name, middle):
    found = rates([0, 5, 9, 10, 60, 110], name, 0.4, total_steps=110, warmup="10steps")
    assert found == pytest.approx([0.0, 0.2, 0.36, 0.4, middle, 0.0], abs=1e-7)


def test_boundaries_count_from_step_zero_whatever_the_warm_up():
    found = rates(
        [0, 4, 5, 19, 20],
        "step",
        0.1,
        total_steps=100,
        boundaries=("20steps",),
        warmup="5steps",
        warmup_fraction=0.5,
    )
    assert found == pytest.approx([0.05, 0.09, 0.1, 0.1, 0.01])


def test_constant_warm_up_stays_at_its_fraction():
    found = rates(
        [0, 399, 400, 32000],
        "step",
        0.1,
        total_steps=64000,
        boundaries=("32000steps",),
        warmup="400steps",
        warmup_kind="constant",
        warmup_fraction=0.1,
    )
    assert found == pytest.approx([0.01, 0.01, 0.1, 0.01])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosin", {}, "name='cosin' is not possible: did you mean cosine"),
        ("cosine", {"warmup_kind": "quadratic"}, "warmup_kind='quadratic' is not possible"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(name, options, message):
    with pytest.raises(UserError, match=message):
        schedule_of(name, 0.1, total_steps=10, **options)


def test_a_schedule_of_many_steps_is_elementwise():
    schedule = schedule_of("cosine", 1.0, total_steps=10, warmup="2steps")
    single = [float(schedule(step)) for step in range(11)]
    np.testing.assert_allclose(schedule(jnp.arange(11)), single, atol=1e-7)
