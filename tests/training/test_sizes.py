"""Training images that change their size in the course of a run."""

import shutil
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model, data
from jaxcnn.config import build, build_data, programs, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.pipeline import staged_batches, train_batch
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import check_train_size
from jaxcnn.training import train
from jaxcnn.training.schedules import Plan, size_stages


def test_stages_begin_at_shares_of_the_run():
    grown = ((0, 128), (0.4, 160), (0.7, 224))
    assert size_stages(grown, 1000) == ((0, 128), (400, 160), (700, 224))
    assert size_stages(grown, 1) == ((0, 160), (1, 224))
    plan = Plan(10, Fraction(5), Fraction(6), None, None, size_stages(grown, 10))
    assert plan.resized == (4, 7)
    assert [list(steps) for steps in plan.calls(0, 3)] == [[1, 2, 3], [4], [5, 6], [7], [8, 9, 10]]


@pytest.mark.parametrize(
    ("schedule", "fields", "message"),
    [
        ((0, 16), {}, "give pairs of a share"),
        (((0.1, 16),), {}, "begin with 0"),
        (((0, 16), (0.5, 20), (0.5, 24)), {}, "rise"),
        (((0, 16), (1, 20)), {}, "stay below 1"),
        (((0, 16.5),), {}, "whole numbers of pixels"),
        (((0, 16),), {"preprocess": "mean_image"}, "preprocess=mean_image is measured at one size"),
        (((0, 16),), {"kind": "tfds", "train_crop": "none"}, "train_crop=none leaves images"),
    ],
)
def test_what_cannot_be_says_so(schedule, fields, message):
    config = recipes.recipe("cifar_resnet20")
    config.data.update(size_schedule=schedule, **fields)
    with pytest.raises(UserError, match=rf"size_schedule=.*{message}"):
        build.make_plan(config, 100)


def sizes_of(schedule, total=9):
    """Sources of digits and their plan."""
    config = recipes.recipe("cifar_resnet20")
    config.data.update(image_size=12, size_schedule=schedule)
    config.train.update(length=f"{total}steps", batch_size=8)
    dataset = build_data.load_data(config, "train")
    plan = build.make_plan(config, dataset.num_examples)
    return build_data.load_stages(freeze(config), dataset, plan)


def test_batches_have_the_size_of_their_step_and_go_on_from_any():
    stages = sizes_of(((0, 8), (0.3, 12), (0.7, 10)))
    assert [before for before, _ in stages] == [0, 3, 6]
    given = {"batch_size": 8, "seed": 3}
    whole = list(staged_batches(stages, start_step=0, num_steps=9, **given))
    assert [batch["image"].shape[1] for batch in whole] == [8] * 3 + [12] * 3 + [10] * 3
    own = data.load("digits", "train", image_size=8, channels=1)
    for step, batch in enumerate(whole):
        alone = train_batch(own, step=step, **given)
        for field in ("index", "epoch", "label"):
            np.testing.assert_array_equal(batch[field], alone[field])
    for start in range(10):
        rest = list(staged_batches(stages, start_step=start, num_steps=9, **given))
        assert len(rest) == 9 - start
        for one, other in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(one["image"], other["image"])


NARROW = {"stage_sizes": (1, 1, 2), "stage_features": (4, 8, 8), "hidden_features": (16, 8)}


@pytest.mark.parametrize(
    ("name", "fields", "channels", "own", "refused", "taken"),
    [
        ("lenet5_modern", {}, 1, 32, 28, ()),
        ("vgg11", {**NARROW, "pool_size": (8, 8)}, 3, 64, 56, (72,)),
        ("cifar_resnet20", {}, 3, 32, 0, (16, 24)),
    ],
)
def test_a_network_of_one_size_is_refused(name, fields, channels, own, refused, taken):
    model = create_model(name, 5, **fields)
    images = jax.ShapeDtypeStruct((1, own, own, channels), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    for size in (own, *taken):
        check_train_size(model, variables, size, channels)
    if refused:
        with pytest.raises(
            UserError, match=rf"cannot be trained at {refused}x{refused} \(.*\); set"
        ):
            check_train_size(model, variables, refused, channels)


class Watched:
    """A training step that notes which of its calls had to compile it."""

    def __init__(self, step, caplog):
        self.lower, self.step, self.caplog = step.lower, step, caplog
        self.calls, self.compiled = 0, []

    def __call__(self, *given):
        self.calls += 1
        self.caplog.clear()
        with jax.log_compiles():
            result = self.step(*given)
        if any("XLA compilation of jit(_fun)" in line for line in self.caplog.messages):
            self.compiled.append(self.calls)
        return result


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_over_a_change_of_size(tmp_path, caplog):
    config = recipes.recipe("cifar_resnet20")
    config.model.overrides.update(stage_sizes=(1,), width=4)
    config.data.update(image_size=12, pad=1, size_schedule=((0.0, 8), (0.5, 12)))
    config.train.update(length="8steps", batch_size=16, ema_decay=0.9)
    config.eval.update(every="3steps", recalibrate_batches=1)
    config.checkpoint.update(every="3steps", keep_latest=9)
    config.log.every = "1steps"
    built = []

    def once(*given):
        if not built:
            made = programs.make_programs(*given)
            built.append(made._replace(train_step=Watched(made.train_step, caplog)))
        else:
            built.append(built[0])
        return built[0]

    unbroken = train.run(freeze(config), tmp_path / "unbroken", make_programs=once)
    assert built[0].train_step.compiled == []  # both sizes are compiled ahead of their first step
    shutil.copytree(tmp_path / "unbroken", tmp_path / "broken")
    for step in (tmp_path / "broken" / "checkpoints").iterdir():
        if step.name in ("6", "8"):
            shutil.rmtree(step)
    assert train.run(freeze(config), tmp_path / "broken", make_programs=once) == unbroken
    assert len(built) == 2
    alone = config.copy_and_resolve_references()
    alone.data.size_schedule = ()
    other = train.run(freeze(alone), tmp_path / "alone", make_programs=once)
    assert other["state_sha256"] != unbroken["state_sha256"]
