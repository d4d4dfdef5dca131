"""What `optimizer.freeze` names keeps every bit, and trains the rest as if it were evaluated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn.config import build, recipes
from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.norm import by_running_statistics
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.ops.reductions import norm
from jaxcnn.training.fields import OPTIMIZERS, LossConfig
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.losses import cross_entropy, make_objective
from jaxcnn.training.state import initial_state
from jaxcnn.training.steps import StepParts, make_train_step
from tests.marks import slow

FREEZE = ("^stem/", "^stage1/")


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        return nn.relu(BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(x))


class Net(nn.Module):
    """Three norms: two to freeze, one to train."""

    @nn.compact
    def __call__(self, images, train=False):
        x = images
        for name in ("stem", "stage1", "stage2"):
            x = Block(name=name)(x, train)
        return nn.Dense(5, name="classifier")(x.mean((1, 2)))


def make_config(name="sgd", **fields):
    config = recipes.recipe("resnet18")
    config.optimizer.update(name=name, freeze=FREEZE, weight_decay=0.1, clip_norm=1.0, **fields)
    config.optimizer.decay_mask = ("",)  # everything decays
    config.schedule.update(name="constant", learning_rate=0.3, warmup="0steps", reference_batch=0)
    return config


def make_optimizer(config):
    return build.make_optimizer(config, total_steps=10, steps_per_epoch=1)


def make_batch(seed):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8),
        "label": rng.integers(0, 5, 8, dtype=np.int32),
        "index": np.arange(8, dtype=np.int32),
        "epoch": np.zeros(8, np.int32),
        "repeat": np.zeros(8, np.int32),
        "weight": np.ones(8, np.float32),
    }


def to_unit(images, keys=None):
    return images / 255.0


def start(optimizer):
    """Statistics that are no longer those of the start, and a parameter that is minus zero."""
    model = Net()
    initial = initial_state(model, optimizer, (4, 4, 3), averaged=True)
    state = prepare_state(initial, jax.random.key(0))()
    stats = jax.tree.map(lambda leaf: leaf + 0.25, state.batch_stats)
    bias = state.params["stem"]["conv"]["bias"]
    state.params["stem"]["conv"]["bias"] = jnp.full_like(bias, -0.0)
    ema = {"params": state.params, "batch_stats": stats}
    return model, state.replace(batch_stats=stats, ema=ema)


def leaves(tree):
    return {
        path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    }


def is_frozen(path):
    return path.startswith(("stem/", "stage1/"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n == "sgd" else slow(n) for n in OPTIMIZERS])
def test_frozen_parameters_statistics_and_averages_keep_every_bit(name):
    optimizer = make_optimizer(make_config(name))
    model, before = start(optimizer)
    step = jax.jit(
        make_train_step(
            StepParts(
                model,
                optimizer,
                make_objective(LossConfig()),
                to_unit,
                total_steps=10,
                grad_accum_steps=2 if name == "sgd" else 1,
                ema_decay=0.7,
            )
        )
    )
    state = before
    for number in range(3):
        state, metrics = step(state, make_batch(number))
        assert not metrics["skipped"]
    seen = {True: 0, False: 0}
    for here, there in (
        (state.params, before.params),
        (state.batch_stats, before.batch_stats),
        (state.ema["params"], before.ema["params"]),
        (state.ema["batch_stats"], before.ema["batch_stats"]),
    ):
        old = leaves(there)
        for path, new in leaves(here).items():
            same = new.tobytes() == old[path].tobytes()
            assert same == is_frozen(path), path
            seen[same] += 1
    assert min(seen.values()) > 8


def test_frozen_parameters_have_no_state_of_the_optimizer():
    def count(freeze):
        optimizer = make_optimizer(make_config("adam"))._replace(frozen=None)
        if not freeze:
            config = make_config("adam")
            config.optimizer.freeze = ()
            optimizer = make_optimizer(config)
        return sum(leaf.size for leaf in jax.tree.leaves(optimizer.init(params)))

    params = start(make_optimizer(make_config()))[1].params
    frozen = sum(leaf.size for path, leaf in leaves(params).items() if is_frozen(path))
    assert count(freeze=False) - count(freeze=True) == 2 * frozen > 0


@pytest.mark.slow
def test_the_rest_learns_from_what_the_frozen_part_gives_in_evaluation():
    """The gradient is that of a network whose frozen norms never heard of training."""
    config = make_config("sgd", momentum=0.0)
    config.optimizer.update(weight_decay=0.0, clip_norm=0.0)
    optimizer = make_optimizer(config)
    model, state = start(optimizer)
    batch = make_batch(0)

    def loss(params):
        x = to_unit(batch["image"])
        for name in ("stem", "stage1"):
            variables = {"params": params[name], "batch_stats": state.batch_stats[name]}
            x = Block().apply(variables, x, train=False)
        variables = {"params": params["stage2"], "batch_stats": state.batch_stats["stage2"]}
        x, updates = Block().apply(variables, x, train=True, mutable=["batch_stats"])
        logits = nn.Dense(5).apply({"params": params["classifier"]}, x.mean((1, 2)))
        return cross_entropy(logits, batch["label"]).mean(), updates

    gradient, updates = jax.jit(jax.grad(loss, has_aux=True))(state.params)
    step = make_train_step(
        StepParts(model, optimizer, make_objective(LossConfig()), to_unit, total_steps=10)
    )
    after, metrics = jax.jit(step)(state, batch)
    for path, new in leaves(after.params).items():
        moved = 0.0 if is_frozen(path) else 0.3 * leaves(gradient)[path]
        np.testing.assert_allclose(new, leaves(state.params)[path] - moved, atol=5e-5)
    for path, new in leaves(updates["batch_stats"]).items():
        there = after.batch_stats["stage2"]["norm"][path.split("/")[-1]]
        np.testing.assert_allclose(there, new, atol=1e-6)
    learned = {name: gradient[name] for name in ("stage2", "classifier")}
    np.testing.assert_allclose(metrics["grad_norm"], norm(learned), rtol=1e-5)


@pytest.mark.slow
def test_nothing_is_computed_backward_through_a_frozen_part():
    def multiplications(freeze):
        config = make_config()
        config.optimizer.freeze = freeze
        optimizer = make_optimizer(config)
        model, state = start(optimizer)
        step = make_train_step(
            StepParts(model, optimizer, make_objective(LossConfig()), to_unit, total_steps=10)
        )
        return jax.jit(step).lower(state, make_batch(0)).compile().cost_analysis()["flops"]

    assert multiplications(("^(?!classifier/)",)) < 0.6 * multiplications(("^stem/conv/bias$",))


@pytest.mark.parametrize("kind", [nn.BatchNorm, BatchNorm, SplitBatchNorm])
def test_a_chosen_norm_normalises_by_its_running_statistics(kind):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            one = partial(kind, use_running_average=False)
            return one(name="first")(x), one(name="second")(x)

    x = jax.random.normal(jax.random.key(0), (8, 3)) * 5 + 2
    variables = Two().init(jax.random.key(1), x)
    with nn.intercept_methods(by_running_statistics(lambda name: name == "first/mean")):
        (first, second), updates = Two().apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(first, x / np.sqrt(1 + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(second.mean(0), 0, atol=1e-5)
    stats = updates["batch_stats"]
    np.testing.assert_array_equal(stats["first"]["mean"], 0)
    assert np.all(stats["second"]["mean"] != 0)
    assert np.all(Two().apply(variables, x, mutable=["batch_stats"])[0][0] != first)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("stem[",), r"optimizer.freeze: 'stem\['"),
        (("^stem/", "^step1/"), r"no parameter matches '\^step1/', and one is 'classifier/bias'"),
        (("",), "matches every parameter: nothing is left to train"),
    ],
)
def test_patterns_that_cannot_be_are_answered(patterns, message):
    config = make_config()
    params = start(make_optimizer(config))[1].params
    config.optimizer.freeze = patterns
    with pytest.raises(UserError, match=message):
        make_optimizer(config).init(params)


def test_units_in_a_loop_cannot_be_frozen():
    config = make_config()
    build.make_model(config, 10)
    config.model.overrides.scan_units = True
    with pytest.raises(UserError, match=r"optimizer.freeze .*scan_units=False"):
        build.make_model(config, 10)
