"""BatchNorm's statistics measured anew, against NumPy's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.config import build, build_data, config_dict, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.resume import check_unchanged
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate, evaluator
from jaxcnn.layers import BatchNorm
from jaxcnn.run import distributed
from jaxcnn.training import train

COUNT, STEP, EPSILON = 3, 7, 1e-3


class Normed(nn.Module):
    """Two norms, the second of what the first makes, and one that only training meets."""

    @nn.compact
    def __call__(self, images, train=False):
        def norm(name):
            return BatchNorm(not train, momentum=0.9, epsilon=EPSILON, name=name)

        x = norm("first")(images.reshape(len(images), -1))
        if train or self.is_initializing():
            norm("auxiliary")(x)
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(6, name="dense")(x)))
        return nn.Dense(10)(norm("second")(x))


def config_of(**fields):
    config = recipes.recipe("lenet5_modern")
    config.data.update(image_size=8, pad=0)
    config.train.batch_size = 32
    config.eval.update(recalibrate_batches=COUNT, **fields)
    return config


@pytest.fixture(scope="module")
def parts():
    """A network whose weights and statistics are anything, and its data."""
    dataset = build_data.load_data(config_of(), "train")
    model = Normed()
    fresh = model.init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)))
    rng = np.random.default_rng(0)
    shaken = jax.tree.map(lambda x: np.float32(np.abs(x + rng.normal(size=x.shape))), fresh)
    return model, dataset, distributed.replicate(shaken)


def recalibrated(config, parts, variables=None, step=STEP):
    model, dataset, given = parts
    found = evaluator.make_recalibrator(config, model, dataset)(variables or given, step)
    return distributed.fetch(found["batch_stats"]), found


def by_numpy(config, parts):
    """Means over batches and devices of the statistics of each device's share."""
    _, dataset, variables = parts
    params = distributed.fetch(variables["params"])
    found = []
    for step in range(STEP, STEP + COUNT):
        batch = train_batch(dataset, batch_size=32, seed=config.seed, step=step)
        x = (batch["image"] / 255 - config.data.mean[0]) / config.data.std[0]
        for share in np.split(x.reshape(32, -1), jax.device_count()):
            first = share.mean(0), share.var(0)
            y = (share - first[0]) / np.sqrt(first[1] + EPSILON)
            y = y * params["first"]["scale"] + params["first"]["bias"]
            z = np.maximum(y @ params["dense"]["kernel"] + params["dense"]["bias"], 0)
            found.append((*first, z.mean(0), z.var(0)))
    return [np.mean(each, axis=0) for each in zip(*found, strict=True)]


@pytest.mark.slow
def test_statistics_are_the_means_over_the_batches(parts):
    assert jax.device_count() == 4
    stats, _ = recalibrated(config_of(), parts)
    expected = by_numpy(config_of(), parts)
    for (norm, name), value in zip(
        [("first", "mean"), ("first", "var"), ("second", "mean"), ("second", "var")],
        expected,
        strict=True,
    ):
        np.testing.assert_allclose(stats[norm][name], value, rtol=2e-4, atol=1e-4)
    before = distributed.fetch(parts[2]["batch_stats"])
    np.testing.assert_array_equal(stats["auxiliary"]["var"], before["auxiliary"]["var"])


@pytest.mark.slow
def test_they_depend_on_the_seed_and_the_step_alone_and_frozen_ones_stay(parts):
    stats, _ = recalibrated(config_of(), parts)
    spoiled = {
        **parts[2],
        "batch_stats": jax.tree.map(lambda x: x * np.nan, parts[2]["batch_stats"]),
    }
    again, _ = recalibrated(config_of(), parts, distributed.replicate(spoiled))
    for norm in ("first", "second"):
        chex.assert_trees_all_equal(stats[norm], again[norm])
    later, _ = recalibrated(config_of(), parts, step=STEP + 1)
    assert np.abs(later["first"]["mean"] - stats["first"]["mean"]).max() > 1e-3
    config = config_of()
    config.optimizer.freeze = ("^first/",)
    frozen, _ = recalibrated(config, parts)
    before = distributed.fetch(parts[2]["batch_stats"])
    chex.assert_trees_all_equal(frozen["first"], before["first"])
    assert np.abs(frozen["second"]["mean"] - stats["second"]["mean"]).max() > 1e-3


@pytest.mark.slow
def test_a_network_with_spoiled_statistics_is_right_again(parts):
    model, _, _ = parts
    config = config_of()
    test = build_data.load_test_data(config, "test")
    measure = evaluator.make_evaluator(config, model, test)
    _, right = recalibrated(config, parts)
    spoiled = {**right, "batch_stats": jax.tree.map(lambda x: 5 * x + 1, right["batch_stats"])}
    _, mended = recalibrated(config, parts, spoiled)
    assert measure(mended) == measure(right)
    assert measure(spoiled)["loss"] != pytest.approx(measure(right)["loss"], rel=0.01)


def run_of(directory, batches):
    config = recipes.recipe("cifar_resnet20")
    config.model.overrides.update(stage_sizes=(1,), width=4)
    config.data.update(image_size=8, pad=1)
    config.train.update(length="8steps", batch_size=32, ema_decay=0.9, ema_warmup=False)
    config.eval.update(every="4steps", recalibrate_batches=batches)
    return train.run(freeze(config), directory)


@pytest.mark.slow
def test_a_run_recalibrates_its_averages_and_keeps_that(tmp_path):
    plain = run_of(tmp_path / "plain", 0)
    kept = run_of(tmp_path / "kept", 3)
    assert kept["test/loss"] == plain["test/loss"]  # of the weights that are trained
    assert kept["test/loss_ema"] != pytest.approx(plain["test/loss_ema"], rel=0.01)
    later = evaluate.run(tmp_path / "plain", changes={"eval.recalibrate_batches": 3})
    assert later["test/loss_ema"] == pytest.approx(kept["test/loss_ema"], rel=1e-6)
    saved = evaluate.run(tmp_path / "kept", changes={"eval.recalibrate_batches": 0})
    assert saved["test/loss_ema"] == pytest.approx(kept["test/loss_ema"], rel=1e-6)


def test_a_run_that_recalibrates_keeps_its_times_of_evaluation():
    config = config_of()
    saved = config_dict.to_saved(freeze(config))
    config.eval.every = "5epochs"
    with pytest.raises(UserError, match=r"eval\.every"):
        check_unchanged(freeze(config), saved, "here")
    saved["eval"]["recalibrate_batches"] = config.eval.recalibrate_batches = 0
    check_unchanged(freeze(config), saved, "here")


@pytest.mark.parametrize(
    "recipe", [recipes.recipe("highway_fc10"), recipes.recipe("ladder_mnist_mlp")]
)
def test_a_network_without_batch_norm_is_refused(recipe):
    recipe.eval.recalibrate_batches = 2
    dataset = build_data.load_data(recipe, "train")
    model = build.make_model(recipe, dataset.num_classes)
    with pytest.raises(UserError, match=r"recalibrate_batches=2: a \w+ has no BatchNorm"):
        evaluator.make_recalibrator(recipe, model, dataset)
    recipe.eval.recalibrate_batches = -1
    with pytest.raises(UserError, match="too small"):
        evaluator.make_recalibrator(recipe, model, dataset)


def test_batches_that_do_not_divide_are_refused(parts):
    config = config_of()
    config.train.batch_size = 30
    with pytest.raises(UserError, match=r"recalibrate_batches=\d+: training batches of 30 do not"):
        evaluator.make_recalibrator(config, *parts[:2])
