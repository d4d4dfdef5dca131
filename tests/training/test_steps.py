"""One step against plain jax, and what must not differ between one device and four."""

import contextlib
from fractions import Fraction
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import create_model
from jaxcnn.config import build, recipes
from jaxcnn.data import load
from jaxcnn.data.augmentation import augment as augmentation
from jaxcnn.data.augmentation.augment import AugmentConfig, augment, normalize
from jaxcnn.data.augmentation.mixup import MixupConfig, mixup_or_cutmix
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import check_size
from jaxcnn.models.densenet import DenseNet
from jaxcnn.run import compiler_options, distributed
from jaxcnn.training.fields import LossConfig, OptimizerConfig, ScheduleConfig
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.losses import cross_entropy, make_objective
from jaxcnn.training.optim import make_optimizer
from jaxcnn.training.state import initial_state
from jaxcnn.training.steps import StepParts, make_eval_step, make_train_step, make_train_steps

NAN_PIXEL = 255  # `to_unit` reads it as not a number


class Linear(nn.Module):
    """Neither normalisation nor chance."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Dense(8, name="hidden")(images.reshape(len(images), -1)))
        return nn.Dense(5, name="classifier")(x)


class WithAux(nn.Module):
    """A second head, as the networks that were trained with one have it."""

    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(len(images), -1)
        aux = nn.Dense(5, name="aux_classifier")(x)
        if train:
            self.sow("aux", "logits", aux)
        return nn.Dense(5, name="classifier")(x)


class Normed(nn.Module):
    """BatchNorm, and optionally dropout."""

    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Dense(8, name="hidden")(images.reshape(len(images), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(nn.relu(x))
        return nn.Dense(5, name="classifier")(x)


class InfiniteSlope(nn.Module):
    """A finite loss with a gradient that is none."""

    @nn.compact
    def __call__(self, images, train=False):
        root = jnp.sqrt(self.param("root", nn.initializers.zeros, ()))
        return nn.Dense(5)(images.reshape(len(images), -1)) + root


class Draws(nn.Module):
    """Keeps, by microbatch and device, a number drawn from each rng."""

    parts: int = 1
    devices: int = 1

    @nn.compact
    def __call__(self, images, train=False):
        shape = (self.parts, self.devices)
        for name in ("dropout", "drop_path"):
            kept = self.variable("batch_stats", name, jnp.zeros, shape)
            if train:
                drawn = jax.random.uniform(self.make_rng(name))
                device = jax.lax.axis_index(distributed.AXIS) if self.devices > 1 else 0
                row = jnp.zeros((1, self.devices)).at[0, device].set(drawn)
                kept.value = jnp.concatenate([kept.value[1:], row])
        return nn.Dense(5)(images.reshape(len(images), -1))


def to_unit(images, keys=None):
    return jnp.where(images == NAN_PIXEL, jnp.nan, images / 255.0)


def make_batch(seed=0, size=16, weight=None):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, NAN_PIXEL, size=(size, 4, 4, 3), dtype=np.uint8),
        "label": rng.integers(0, 5, size=size, dtype=np.int32),
        "index": rng.permutation(100)[:size].astype(np.int32),
        "epoch": np.full(size, seed, np.int32),
        "repeat": np.zeros(size, np.int32),
        "weight": np.ones(size, np.float32) if weight is None else np.float32(weight),
    }


def make_sgd(rate=1.0, momentum=0.0, weight_decay=0.0, total_steps=10, **schedule):
    schedule = {"name": "constant"} | schedule
    return make_optimizer(
        OptimizerConfig(momentum=momentum, weight_decay=weight_decay),
        ScheduleConfig(learning_rate=rate, **schedule),
        total_steps=total_steps,
        steps_per_epoch=Fraction(1),
        batch_size=0,
    )


def start(model, optimizer=None, averaged=False, seed=0):
    initial = initial_state(model, optimizer or make_sgd(), (4, 4, 3), averaged)
    return prepare_state(initial, jax.random.key(seed))()


def make_step(model, optimizer=None, objective=None, augment=to_unit, **options):
    optimizer, objective = optimizer or make_sgd(), objective or make_objective(LossConfig())
    return make_train_step(
        StepParts(model, optimizer, objective, augment, **{"total_steps": 10, **options})
    )


def host(tree):
    """NumPy copies, which outlive a donation."""
    return jax.tree.map(np.array, tree)


def assert_close(here, there, **tolerance):
    chex.assert_trees_all_close(host(here), host(there), **tolerance)


def assert_same_bits(here, there):
    def same(path, a, b):
        name = jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, name
        assert a.tobytes() == b.tobytes(), name

    jax.tree_util.tree_map_with_path(same, host(here), host(there))


# Loss and gradient ------------------------------------------------------------------------------


def weighted_mean_loss(model, params, batch):
    logits = model.apply({"params": params}, batch["image"] / 255.0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return jnp.sum(losses * batch["weight"]) / jnp.sum(batch["weight"]), logits


SOME_WITHOUT_WEIGHT = [1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("grad_accum_steps", [1, 4])
@pytest.mark.parametrize("weight", [None, SOME_WITHOUT_WEIGHT], ids=["all", "some"])
def test_a_step_takes_the_gradient_of_the_weighted_mean_loss(grad_accum_steps, weight):
    model, batch = Linear(), make_batch(weight=weight)
    state = start(model)
    (loss, logits), grads = jax.value_and_grad(
        lambda params: weighted_mean_loss(model, params, batch), has_aux=True
    )(state.params)
    after, metrics = jax.jit(make_step(model, grad_accum_steps=grad_accum_steps))(state, batch)
    expected = jax.tree.map(lambda w, g: w - g, state.params, grads)
    assert_close(after.params, expected, rtol=1e-5, atol=1e-6)
    hits = (np.argmax(logits, -1) == batch["label"]) * batch["weight"]
    expected = {
        "loss": float(loss),
        "top1": float(hits.sum() / batch["weight"].sum()),
        "learning_rate": 1.0,
        "grad_norm": float(optax.tree.norm(grads)),
        "skipped": 0,
    }
    assert {key: float(value) for key, value in metrics.items()} == pytest.approx(
        expected, rel=1e-5
    )
    assert after.step == 1


@pytest.mark.slow
def test_microbatches_are_augmented_as_the_whole_batch_is():
    model, batch = Linear(), make_batch()
    flips = partial(
        augment, config=AugmentConfig(flip=True, pad=2, color_jitter=0.4), mean=(0.5,), std=(0.5,)
    )
    whole, parts = (
        jax.jit(make_step(model, augment=flips, grad_accum_steps=grad_accum_steps))(
            start(model), batch
        )
        for grad_accum_steps in (1, 4)
    )
    assert_close(parts[0].params, whole[0].params, rtol=1e-5, atol=1e-6)


def test_rows_without_weight_change_nothing():
    step, state = jax.jit(make_step(Linear())), start(Linear())
    batch = make_batch(weight=SOME_WITHOUT_WEIGHT)
    other = make_batch(seed=1)
    unread = batch["weight"] == 0
    for key in ("image", "label"):
        other[key] = batch[key].copy()
        other[key][unread] = (batch[key][unread] + 1) % 5
    changed = batch | {key: other[key] for key in ("image", "label")}
    assert_same_bits(step(state, changed), step(state, batch))


def test_a_batch_without_any_weight_moves_no_parameter():
    state = start(Linear())
    after, metrics = jax.jit(make_step(Linear()))(state, make_batch(weight=np.zeros(16)))
    assert_same_bits(after.params, state.params)
    assert metrics["loss"] == metrics["grad_norm"] == metrics["skipped"] == 0


@pytest.mark.slow
def test_auxiliary_heads_are_trained_with_their_weight():
    model, batch = WithAux(), make_batch()
    state = start(model)

    def loss(params):
        images = (batch["image"] / 255.0).reshape(16, -1)
        heads = [
            images @ params[name]["kernel"] + params[name]["bias"][None]
            for name in ("classifier", "aux_classifier")
        ]
        main, aux = (
            optax.softmax_cross_entropy_with_integer_labels(head, batch["label"]).mean()
            for head in heads
        )
        return main + 0.3 * aux

    expected = jax.tree.map(lambda w, g: w - g, state.params, jax.grad(loss)(state.params))
    after, metrics = jax.jit(
        make_step(model, objective=make_objective(LossConfig(aux_weight=0.3)))
    )(state, batch)
    assert_close(after.params, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss(state.params), rtol=1e-5)


def test_the_rate_is_that_of_the_step():
    optimizer = make_sgd(name="step", boundaries=("2steps",), rate=0.5)
    step, state = jax.jit(make_step(Linear(), optimizer)), start(Linear(), optimizer)
    rates = []
    for number in range(4):
        before = state.params
        state, metrics = step(state, make_batch(number))
        rates.append(float(metrics["learning_rate"]))
        moved = optax.tree.norm(jax.tree.map(jnp.subtract, before, state.params))
        np.testing.assert_allclose(moved, rates[-1] * metrics["grad_norm"], rtol=1e-4)
    assert rates == pytest.approx([0.5, 0.5, 0.05, 0.05])


@pytest.mark.slow
def test_a_plateau_scales_the_rate_of_a_step():
    plateau = optax.contrib.reduce_on_plateau(0.1, 1)
    optimizer = make_sgd(rate=0.5)._replace(plateau=plateau)
    state = start(Linear(), optimizer)
    for value in (1.0, 1.0):
        seen = optimizer.observe(state.opt_state["plateau"], value)
        state = state.replace(opt_state=state.opt_state | {"plateau": seen})
    after, metrics = jax.jit(make_step(Linear(), optimizer))(state, make_batch())
    np.testing.assert_allclose(metrics["learning_rate"], 0.05, rtol=1e-6)
    assert_same_bits(after.opt_state["plateau"], state.opt_state["plateau"])


# Statistics and averages ------------------------------------------------------------------------


@pytest.mark.slow
def test_batch_norm_sees_each_microbatch_in_turn():
    model, batch = Normed(), make_batch()
    state = start(model)
    after, _ = jax.jit(make_step(model, grad_accum_steps=4))(state, batch)
    mean, var = 0.0, 1.0
    hidden = state.params["hidden"]
    for part in np.split(batch["image"] / 255.0, 4):
        x = part.reshape(4, -1) @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"])
        mean, var = 0.9 * mean + 0.1 * x.mean(0), 0.9 * var + 0.1 * x.var(0)
    norm = after.batch_stats["norm"]
    np.testing.assert_allclose(norm["mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm["var"], var, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("warmup", [True, False])
def test_averages_of_weights_and_statistics_follow_the_formula(warmup):
    model = Normed()
    step = jax.jit(make_step(model, ema_decay=0.15, ema_warmup=warmup))
    state = start(model, averaged=True)
    expected = host({"params": state.params, "batch_stats": state.batch_stats})
    for number in range(3):
        state, _ = step(state, make_batch(number))
        decay = min(0.15, (1 + number) / (10 + number)) if warmup else 0.15  # 0.1, 0.15, 0.15
        fresh = host({"params": state.params, "batch_stats": state.batch_stats})
        expected = jax.tree.map(lambda e, x, d=decay: d * e + (1 - d) * x, expected, fresh)
        assert_close(state.ema, expected, rtol=1e-5, atol=1e-6)


# Values that are not finite ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing_but_its_number(grad_accum_steps):
    model, optimizer = Normed(), make_sgd(rate=0.1, momentum=0.9, weight_decay=0.1)
    step = jax.jit(make_step(model, optimizer, grad_accum_steps=grad_accum_steps, ema_decay=0.9))
    state, _ = step(start(model, optimizer, averaged=True), make_batch(0))
    poisoned = make_batch(1)
    poisoned["image"][3, 0, 0, 0] = NAN_PIXEL  # in the first microbatch
    after, metrics = step(state, poisoned)
    assert metrics["skipped"] == 1
    assert after.step == 2
    assert_same_bits(after.replace(step=state.step), state)

    onward, metrics = step(after, make_batch(2))
    assert metrics["skipped"] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(host(onward)))
    assert not np.array_equal(onward.params["hidden"]["kernel"], state.params["hidden"]["kernel"])


def test_a_finite_loss_with_an_infinite_gradient_is_skipped():
    model = InfiniteSlope()
    state = start(model)
    after, metrics = jax.jit(make_step(model))(state, make_batch())
    assert np.isfinite(metrics["loss"])
    assert metrics["skipped"] == 1
    assert_same_bits(after.params, state.params)


# Chance -----------------------------------------------------------------------------------------


def draws(state):
    return {name: np.asarray(values) for name, values in state.batch_stats.items()}


@pytest.mark.slow
def test_draws_depend_on_seed_step_and_microbatch_and_on_nothing_else():
    model = Draws(parts=4)
    step = jax.jit(make_step(model, grad_accum_steps=4))
    seen = {}
    for seed in (0, 1):
        state = start(model, seed=seed)
        for number in range(2):
            state, _ = step(state, make_batch(number))
            seen[seed, number] = draws(state)
    everything = np.concatenate([drawn[name].ravel() for drawn in seen.values() for name in drawn])
    assert len(np.unique(everything)) == 2 * 2 * 4 * 2  # seeds, steps, microbatches, uses

    again = start(model, seed=1).replace(step=jnp.int32(1))
    again, _ = step(again, make_batch(5))
    for name, values in draws(again).items():
        np.testing.assert_array_equal(values, seen[1, 1][name])


@pytest.mark.slow
def test_dropout_differs_by_device_and_stochastic_depth_does_not():
    model = Draws(parts=2, devices=4)
    step = distributed.pmap_train_step(
        make_step(model, grad_accum_steps=2, axis_name=distributed.AXIS)
    )
    state = distributed.replicate(start(model))
    state, _ = step(state, distributed.shard(make_batch()))
    found = draws(distributed.fetch(state))
    assert len(np.unique(found["dropout"])) == 8
    assert len(np.unique(found["drop_path"])) == 2
    assert (found["drop_path"] == found["drop_path"][:, :1]).all()


def test_the_root_key_never_changes():
    state = start(Linear())
    after, _ = jax.jit(make_step(Linear()))(state, make_batch())
    assert_same_bits(after.rng, state.rng)


@pytest.mark.slow
def test_augmentation_keys_depend_on_the_example_and_not_on_the_step():
    def noise(images, keys):
        drawn = jax.vmap(lambda key: jax.random.uniform(key, (4, 4, 3)))(keys)
        return images * 0 + drawn

    step, batch = jax.jit(make_step(Linear(), augment=noise)), make_batch()
    state = start(Linear())
    turn = np.random.default_rng(0).permutation(16)
    first, _ = step(state, batch)
    later, _ = step(state.replace(step=jnp.int32(5)), {k: v[turn] for k, v in batch.items()})
    assert_close(later.params, first.params, rtol=1e-5, atol=1e-6)
    other, _ = step(state, batch | {"epoch": batch["epoch"] + 1})
    assert not np.allclose(other.params["hidden"]["kernel"], first.params["hidden"]["kernel"])


# Devices ----------------------------------------------------------------------------------------


def replicas(tree):
    """One NumPy tree per device."""
    return [
        jax.tree.map(lambda x, n=number: np.asarray(x.addressable_shards[n].data), tree)
        for number in range(jax.local_device_count())
    ]


@pytest.mark.slow
def test_four_devices_take_the_step_that_one_takes():
    model, optimizer = Linear(), make_sgd(momentum=0.9)
    batch = make_batch(weight=[0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    alone, expected = jax.jit(make_step(model, optimizer))(start(model, optimizer), batch)
    step = distributed.pmap_train_step(make_step(model, optimizer, axis_name=distributed.AXIS))
    state, metrics = step(distributed.replicate(start(model, optimizer)), distributed.shard(batch))
    assert_close(distributed.fetch(state), alone, rtol=1e-5, atol=1e-6)
    assert_close(distributed.fetch(metrics), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_steps_in_one_call_are_those_of_several():
    model, optimizer = Normed(dropout_rate=0.3), make_sgd(rate=0.1, momentum=0.9)
    one = make_step(model, optimizer, ema_decay=0.9, axis_name=distributed.AXIS)
    batches = [make_batch(number) for number in range(3)]
    batches[1]["image"][0] = NAN_PIXEL

    step = distributed.pmap_train_step(one)
    state, expected = distributed.replicate(start(model, optimizer, averaged=True)), []
    for batch in batches:
        state, metrics = step(state, distributed.shard(batch))
        expected.append(distributed.fetch(metrics))

    steps = distributed.pmap_train_step(make_train_steps(one))
    again = distributed.replicate(start(model, optimizer, averaged=True))
    again, metrics = steps(again, distributed.shard_steps(batches, 5))
    assert_close(distributed.fetch(again), distributed.fetch(state), rtol=1e-6, atol=1e-7)
    assert int(distributed.fetch(again.step)) == 3
    for number, metric in enumerate(expected):
        found = {key: values[number] for key, values in distributed.fetch(metrics).items()}
        assert_close(found, metric, rtol=1e-6, atol=1e-7)
    assert [bool(metric["skipped"]) for metric in expected] == [False, True, False]


def test_a_step_on_the_cpu_does_not_copy_the_momentum():
    model, optimizer = Linear(), make_sgd(momentum=0.9)
    options = compiler_options.for_train_step()
    assert options, "this XLA does not know the option: look for another"
    step = distributed.pmap_train_step(
        make_step(model, optimizer, axis_name=distributed.AXIS), compiler_options=options
    )
    lowered = step.lower(start(model, optimizer), distributed.shard(make_batch()))
    off = dict.fromkeys(compiler_options.IN_PLACE, False)
    texts = [lowered.compile(options).as_text() for options in (off, None)]
    before, now = (text.count(" copy(") for text in texts)
    assert now < before


def test_options_of_the_step_that_xla_does_not_know_or_a_user_sets_are_left_out(monkeypatch):
    both = compiler_options.IN_PLACE | compiler_options.KEEP_BARRIERS
    assert compiler_options.for_train_step() == compiler_options.IN_PLACE
    assert compiler_options.for_train_step(remat=True) == both
    monkeypatch.setenv("XLA_FLAGS", f"--{next(iter(compiler_options.IN_PLACE))}=false")
    assert compiler_options.for_train_step(remat=True) == compiler_options.KEEP_BARRIERS
    monkeypatch.setattr(compiler_options, "KEEP_BARRIERS", {"xla_no_such_option": True})
    assert compiler_options.for_train_step(remat=True) == {}


@pytest.mark.slow
def test_replicas_stay_equal_and_a_donated_state_can_be_used():
    model, optimizer = Normed(dropout_rate=0.3), make_sgd(rate=0.1, momentum=0.9)
    step = distributed.pmap_train_step(
        make_step(model, optimizer, ema_decay=0.9, axis_name=distributed.AXIS)
    )
    state = distributed.replicate(start(model, optimizer, averaged=True))
    for number in range(3):
        given = state.params["hidden"]["kernel"]
        state, metrics = step(state, distributed.shard(make_batch(number)))
        assert given.is_deleted(), "the old state must not need memory of its own"
    first, *others = replicas(state)
    for other in others:
        assert_same_bits(other, first)
    assert len(others) == 3
    assert int(first.step) == 3
    assert_same_bits(distributed.fetch(metrics), replicas(metrics)[-1])


@pytest.mark.slow
def test_a_poisoned_share_of_one_device_makes_all_skip():
    model = Normed()
    step = distributed.pmap_train_step(make_step(model, axis_name=distributed.AXIS))
    state = start(model)
    before = host(state)
    poisoned = make_batch()
    poisoned["image"][-1, 0, 0, 0] = NAN_PIXEL
    after, metrics = step(distributed.replicate(state), distributed.shard(poisoned))
    for replica in replicas(after):
        assert_same_bits(replica.replace(step=before.step), before)
    assert distributed.fetch(metrics)["skipped"] == 1


@pytest.mark.slow
def test_statistics_are_the_mean_over_devices():
    model, batch = Normed(), make_batch()
    state = start(model)
    hidden = host(state.params["hidden"])
    shares = np.split((batch["image"] / 255.0).reshape(16, -1), 4)
    outputs = [share @ hidden["kernel"] + hidden["bias"] for share in shares]
    step = distributed.pmap_train_step(make_step(model, axis_name=distributed.AXIS))
    after = distributed.fetch(step(distributed.replicate(state), distributed.shard(batch))[0])
    norm = after.batch_stats["norm"]
    mean = np.mean([0.1 * x.mean(0) for x in outputs], axis=0)
    var = np.mean([0.9 + 0.1 * x.var(0) for x in outputs], axis=0)
    np.testing.assert_allclose(norm["mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm["var"], var, rtol=1e-4, atol=1e-5)


def small_densenet_config(**train):
    config = recipes.recipe("densenet121", "synthetic")
    config.model.overrides.update(growth_rate=4, stage_sizes=(1,), stem_features=4, cifar_stem=True)
    config.train.update(**train)
    return config


@pytest.mark.parametrize("name", ["googlenet", "lenet5_modern"])
def test_sync_bn_gives_no_norm_to_a_network_without(name):
    config = small_densenet_config(sync_bn=True)
    config.model.name, config.model.overrides = name, ConfigDict()
    model = build.make_model(config, 10)
    assert getattr(model, "norm", None) is None


@pytest.mark.slow
def test_with_sync_bn_four_devices_are_one():
    batch, optimizer = make_batch(), make_sgd(rate=0.1)
    models = [build.make_model(small_densenet_config(sync_bn=sync), 5) for sync in (False, True)]
    state = start(models[0], optimizer)
    alone, _ = jax.jit(make_step(models[0], optimizer))(state, batch)
    alone = host(alone)

    def of_four(model):
        step = distributed.pmap_train_step(make_step(model, optimizer, axis_name=distributed.AXIS))
        fresh = distributed.replicate(start(model, optimizer))
        return distributed.fetch(step(fresh, distributed.shard(batch))[0])

    assert_close(of_four(models[1]), alone, rtol=1e-4, atol=1e-5)
    apart = of_four(models[0]).batch_stats["final_norm"]["var"]
    assert not np.allclose(apart, alone.batch_stats["final_norm"]["var"], rtol=1e-3)


# Number formats ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_bfloat16_is_for_the_computation_only():
    model = DenseNet(
        num_classes=5, growth_rate=4, stage_sizes=(1, 1), cifar_stem=True, dtype=jnp.bfloat16
    )
    state = start(model, averaged=True)
    batch = make_batch()
    logits = model.apply(state.variables(), batch["image"] / 255.0)
    assert logits.dtype == jnp.float32
    after, metrics = jax.eval_shape(make_step(model, ema_decay=0.9), state, batch)
    floating = [x.dtype for x in jax.tree.leaves(after) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert set(floating) == {jnp.dtype(jnp.float32)}
    assert metrics["loss"].dtype == metrics["grad_norm"].dtype == jnp.float32
    text = str(jax.make_jaxpr(make_step(model, ema_decay=0.9))(state, batch))
    assert "bf16" in text, "nothing is computed in bfloat16"


# Evaluation -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_evaluation_step_sums_what_counts_and_counts_what_is_seen():
    model = create_model("lenet5_modern", num_classes=5)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 255, size=(8, 32, 32, 1), dtype=np.uint8),
        "label": rng.integers(0, 5, size=8, dtype=np.int32),
        "index": np.array([0, 1, 2, 3, 4, 5, -1, -1], np.int32),  # two rows of padding
        "weight": np.array([1, 1, 0, 1, 1, 1, 0, 0], np.float32),  # one that cannot be read
    }
    to_float = partial(normalize, mean=(0.5,), std=(0.5,))
    logits = model.apply(variables, (batch["image"] / 255.0 - 0.5) / 0.5)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    expected = {
        "loss": float((losses * batch["weight"]).sum()),
        "nll": float((losses * batch["weight"]).sum()),
        "top1": float(((logits.argmax(-1) == batch["label"]) * batch["weight"]).sum()),
        "top5": 5,
        "count": 5,
        "seen": 6,
    }
    alone = jax.jit(make_eval_step(model, to_float))(variables, batch)
    step = distributed.pmap_eval_step(make_eval_step(model, to_float, axis_name=distributed.AXIS))
    together = distributed.fetch(step(distributed.replicate(variables), distributed.shard(batch)))
    for sums in (alone, together):
        assert {key: float(value) for key, value in sums.items()} == pytest.approx(
            expected, rel=1e-4
        )


@pytest.mark.slow
def test_a_step_on_mixed_images_takes_the_mixed_loss_and_counts_the_larger_share():
    model, batch = Linear(), make_batch(weight=SOME_WITHOUT_WEIGHT)
    state = start(model)
    step = jax.jit(
        make_step(model, mixup=partial(mixup_or_cutmix, config=MixupConfig(mixup=1.0, cutmix=1.0)))
    )
    _, metrics = step(state, batch)
    places = (jnp.asarray(batch[name]) for name in ("epoch", "index", "repeat"))
    root = jax.random.fold_in(jax.random.key(0), augmentation.ROOT)
    of_examples = augmentation.example_keys(root, *places)
    mixed = mixup_or_cutmix(
        to_unit(batch["image"]),
        jnp.asarray(batch["label"]),
        jnp.asarray(batch["weight"]),
        of_examples,
        MixupConfig(mixup=1.0, cutmix=1.0),
    )
    logits = model.apply(state.variables(), mixed.images)
    shares, weight = np.asarray(mixed.shares), batch["weight"]
    losses = [cross_entropy(logits, jnp.asarray(y)) for y in (batch["label"], mixed.partners)]
    expected = shares * losses[0] + (1 - shares) * losses[1]
    np.testing.assert_allclose(metrics["loss"], (expected * weight).sum() / weight.sum(), rtol=1e-5)
    assert np.any(shares < 0.5)
    larger = np.where(shares >= 0.5, batch["label"], mixed.partners)
    hits = (np.argmax(logits, -1) == larger) * weight
    np.testing.assert_allclose(metrics["top1"], hits.sum() / weight.sum(), rtol=1e-6)


@pytest.mark.slow
def test_repeats_are_augmented_apart():
    def noise(images, keys):
        return to_unit(images) + jax.vmap(lambda k: jax.random.normal(k, images.shape[1:]))(keys)

    step, batch = jax.jit(make_step(Linear(), augment=noise)), make_batch()
    state = start(Linear())
    one, other = (step(state, batch | {"repeat": batch["repeat"] + r})[1]["loss"] for r in (0, 1))
    assert one != other


@pytest.mark.parametrize(("name", "fits"), [("cifar_resnet20", True), ("lenet5_modern", False)])
def test_a_size_of_evaluation_that_does_not_fit_the_network_is_one_line(name, fits):
    model = create_model(name)
    images = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    watched = load("synthetic", "test", image_size=40, channels=1, num_examples=2)
    with contextlib.nullcontext() if fits else pytest.raises(UserError, match="size=40: LeNet"):
        check_size(model, variables, watched)
