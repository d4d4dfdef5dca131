"""Training with labels of only some examples: the step, the plan and what is refused."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxcnn.config import build, build_data, recipes
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.run import distributed
from jaxcnn.training.fields import LossConfig
from jaxcnn.training.losses import make_objective
from jaxcnn.training.optim import Optimizer
from jaxcnn.training.state import TrainState
from jaxcnn.training.steps import StepParts, make_train_step


class Told(nn.Module):
    """Linear, and notes which rows it is told have labels."""

    @nn.compact
    def __call__(self, images, train=False, labelled=None):
        noted = self.variable("batch_stats", "noted", lambda: jnp.zeros(len(images)))
        if train and labelled is not None and not self.is_initializing():
            noted.value = labelled.astype(jnp.float32)
        return nn.Dense(3)(images.reshape(len(images), -1))


BATCH = {
    "image": np.random.default_rng(0).normal(size=(6, 2, 2, 1)).astype(np.float32),
    "label": np.array([2, -1, -1, 0, -1, -1], np.int32),
    "index": np.arange(6, dtype=np.int32),
    "epoch": np.zeros(6, np.int32),
    "repeat": np.zeros(6, np.int32),
    "weight": np.ones(6, np.float32),
}


def one_step(batch, **options):
    model = Told()
    variables = model.init(jax.random.key(0), batch["image"])
    optimizer = Optimizer(optax.sgd, lambda step: 0.1, None)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        ema=None,
        rng=jax.random.key_data(jax.random.key(0)),
    )
    augment = lambda images, keys: images  # noqa: E731
    step = make_train_step(
        StepParts(model, optimizer, make_objective(LossConfig()), augment, total_steps=1, **options)
    )
    return variables, *jax.jit(step)(state, batch)


@pytest.mark.slow
def test_loss_accuracy_and_gradients_are_of_the_labelled_rows():
    variables, state, metrics = one_step(BATCH, semi_supervised=True)
    rows = BATCH["label"] >= 0
    alone = {key: value[rows] for key, value in BATCH.items()}
    np.testing.assert_array_equal(state.batch_stats["noted"], rows)

    def loss(params):
        logits = Told().apply({**variables, "params": params}, alone["image"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, alone["label"])
        return losses.mean()

    expected, grads = jax.value_and_grad(loss)(variables["params"])
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], grads)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), state.params, moved)


@pytest.mark.slow
def test_a_hit_without_label_does_not_count():
    """-1 would be the last class, were it taken as a position."""
    variables, _, _ = one_step(BATCH)
    logits = Told().apply(variables, BATCH["image"])
    best = np.argmax(logits, -1).astype(np.int32)
    some = np.arange(6) % 3 == 0
    _, _, metrics = one_step({**BATCH, "label": np.where(some, best, -1)})
    assert metrics["top1"] == 1
    _, _, metrics = one_step({**BATCH, "label": np.where(some, (best + 1) % 3, -1)})
    assert metrics["top1"] == 0


def test_others_are_told_nothing():
    _, state, _ = one_step(BATCH)
    assert not np.any(state.batch_stats["noted"])


def config_of(**fields):
    config = recipes.recipe("ladder_mnist_mlp")
    config.data.update(**fields)
    return config


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"labelled": 0, "unlabelled_per_labelled": 0}, Fraction(1437, 200)),
        ({"labelled": 100, "unlabelled_per_labelled": 0}, Fraction(100, 200)),
        ({"labelled": 100, "unlabelled_per_labelled": 1}, Fraction(1437, 100)),
        ({"labelled": 0, "unlabelled_per_labelled": 3}, Fraction(1437, 150)),
    ],
)
def test_an_epoch_is_a_pass_over_the_rows_without_label(fields, expected):
    assert build.make_plan(config_of(**fields), 1437).steps_per_epoch == expected


def test_the_runs_seed_draws_the_labels_of_the_training_split_alone():
    config = config_of(holdout=200)
    train = build_data.load_data(config, "train")
    assert np.bincount(train.labels[train.labelled]).tolist() == [10] * 10
    assert build_data.load_data(config, "validation").labelled is None
    assert build_data.load_data(config, "test").labelled is None
    config.seed = 1
    assert not np.array_equal(train.labelled, build_data.load_data(config, "train").labelled)


def test_a_network_that_takes_no_unlabelled_rows_says_so():
    config = config_of()
    build.make_model(config, 10)
    config.model.name, config.model.overrides = "lenet5_modern", {}
    with pytest.raises(UserError, match="lenet5_modern cannot learn from unlabelled images"):
        build.make_model(config, 10)
    config.data.unlabelled_per_labelled = 0
    build.make_model(config, 10)


def test_a_batch_that_devices_cannot_share_in_groups_says_what_fits():
    group = 3 * jax.device_count()
    distributed.check_batch("train.batch_size", 2 * group, group=3)
    distributed.check_batch("train.batch_size", 2 * jax.device_count(), pairs=True)
    with pytest.raises(UserError, match=r"in pairs of rows to be mixed: set .*=16"):
        distributed.check_batch("train.batch_size", jax.device_count() * 3, parts=2, pairs=True)
    with pytest.raises(UserError, match=f"1 row with label and 2 without: set .*={2 * group}"):
        distributed.check_batch("train.batch_size", 2 * group + 1, group=3)


def test_synchronised_norm_is_the_networks_own():
    config = config_of()
    config.train.sync_bn = True
    norm = build.make_model(config, 10).norm
    assert norm.keywords == {"axis_name": distributed.AXIS}
    assert norm.func is SplitBatchNorm


@pytest.mark.slow
def test_devices_train_the_ladder_as_one_with_synchronised_norm():
    """Rows alternate, so every device has its share of both kinds."""
    devices = min(4, jax.device_count())
    if devices == 1:
        pytest.skip("one device")
    config = config_of(image_size=4)
    config.train.sync_bn = True
    config.model.overrides.update(
        hidden_features=(16, 8), noise=0.0, denoising=(1.0, 1.0, 0.1, 0.1)
    )
    dataset = build_data.load_data(config, "train")
    batch = train_batch(
        dataset, BatchConfig(unlabelled_per_labelled=1), batch_size=8 * devices, seed=0, step=0
    )
    results = []
    for count in (1, devices):
        model = build.make_model(config, 10)
        optimizer = Optimizer(optax.sgd, lambda step: 0.1, None)
        step = make_train_step(
            StepParts(
                model,
                optimizer,
                make_objective(LossConfig()),
                build_data.make_augment(config),
                total_steps=1,
                semi_supervised=True,
                axis_name=distributed.AXIS,
            )
        )
        variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables["batch_stats"],
            opt_state=optimizer.init(variables["params"]),
            ema=None,
            rng=jax.random.key_data(jax.random.key(0)),
        )
        shards = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)  # noqa: B023
        run = jax.pmap(step, axis_name=distributed.AXIS, in_axes=(None, 0), out_axes=None)
        results.append(jax.device_get(run(state, shards)))
    (one, of_one), (several, of_several) = results
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, several.params, one.params)
    jax.tree.map(close, several.batch_stats, one.batch_stats)
    assert of_one.keys() == of_several.keys()
    close(of_several["loss"], of_one["loss"])
    assert of_several["top1"] == of_one["top1"]
