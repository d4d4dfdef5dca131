"""Statistics of the training split against NumPy, and the same ones wherever they are used."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import preview
from jaxcnn.config import build, build_data, programs, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data import load, normalization
from jaxcnn.data.augmentation.augment import AugmentConfig, augment, example_keys, normalize
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluator
from jaxcnn.run import distributed
from jaxcnn.run.checkpoint import restore
from jaxcnn.training import averages
from tests import hostile

PLAIN = {"mean": (0.5,), "std": (0.25,)}


@pytest.fixture(scope="module")
def dataset():
    return load("synthetic", "train", image_size=6, num_examples=700, num_classes=5)


def contrast(pixels, scale=55.0):
    """As in pylearn2: subtract the image's mean, divide by its length."""
    rows = pixels.reshape(len(pixels), -1) / 255
    rows = rows - rows.mean(1, keepdims=True)
    return scale * rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_mean_image_is_subtracted_pixel_by_pixel(dataset):
    statistics = normalization.measure(dataset, "mean_image")
    expected = (dataset.images / 255).mean(0)
    np.testing.assert_allclose(statistics.mean, expected, atol=1e-6)
    found = normalize(dataset.images[:50], statistics=statistics, **PLAIN)
    np.testing.assert_allclose(found, (dataset.images[:50] / 255 - expected) / 0.25, atol=1e-5)


@pytest.mark.slow
def test_contrast_normalisation_is_of_each_image(dataset):
    statistics = normalization.measure(dataset, "gcn", scale=10.0)
    found = np.asarray(normalize(dataset.images[:50], statistics=statistics, **PLAIN))
    expected = contrast(dataset.images[:50], 10.0).reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    even = np.full((1, 6, 6, 3), 77, np.uint8)
    assert np.abs(normalize(even, statistics=statistics, **PLAIN)).max() < 1e-4  # of 10


@pytest.mark.slow
def test_whitened_images_are_uncorrelated_up_to_epsilon(dataset):
    epsilon = 0.1
    statistics = normalization.measure(dataset, "zca", epsilon=epsilon)
    found = np.asarray(normalize(dataset.images, statistics=statistics, **PLAIN), np.float64)
    rows = contrast(dataset.images)
    centred = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    expected = centred @ (vectors / np.sqrt(values + epsilon)) @ vectors.T
    np.testing.assert_allclose(found.reshape(rows.shape), expected, atol=2e-3)
    covariance = np.cov(found.reshape(rows.shape).T, bias=True)
    spread = vectors * (np.maximum(values, 0) / (np.maximum(values, 0) + epsilon)) @ vectors.T
    np.testing.assert_allclose(covariance, spread, atol=2e-3)
    np.testing.assert_allclose(statistics.whiten, statistics.whiten.T, atol=1e-5)


@pytest.mark.slow
def test_training_whitens_before_it_shifts(dataset):
    statistics = normalization.measure(dataset, "zca")
    keys = example_keys(jax.random.key(0), jnp.zeros(30, int), jnp.arange(30))
    plain = np.asarray(normalize(dataset.images[:30], statistics=statistics, **PLAIN))
    found = np.asarray(
        augment(dataset.images[:30], keys, AugmentConfig(pad=1), statistics=statistics, **PLAIN)
    )
    padded = np.pad(plain, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for number in range(30):
        places = [padded[number, y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
        assert any(np.allclose(found[number], place, atol=1e-4) for place in places)


def test_a_large_split_is_measured_at_even_distances(dataset, monkeypatch):
    monkeypatch.setattr(normalization, "MOST_EXAMPLES", 7)
    found = normalization.measure(dataset, "mean_image").mean
    np.testing.assert_allclose(found, (dataset.images[::100] / 255).mean(0), atol=1e-6)


@pytest.mark.parametrize("kind", ["mean_image", "gcn", "zca"])
def test_what_is_written_is_read_to_the_bit_and_damage_is_noticed(dataset, kind, tmp_path):
    statistics, path = normalization.measure(dataset, kind), tmp_path / "statistics.npz"
    assert normalization.read(path) is None
    normalization.write(path, statistics, {"examples": 700})
    found, about = normalization.read(path)
    assert about == {"examples": 700}
    assert (found.kind, found.scale) == (kind, 55.0)
    for name in ("mean", "whiten"):
        np.testing.assert_array_equal(getattr(found, name), getattr(statistics, name))
    assert list(tmp_path.iterdir()) == [path]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert normalization.read(path) is None


GOOD = '{"kind": "gcn", "scale": 55.0, "about": {}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[]",
        "null",
        "[" * 100_000,
        GOOD.replace("{}", "5"),
        GOOD.replace("55.0", "[]"),
        GOOD.replace("55.0", "1" + "0" * 400),
        GOOD.replace("55.0", "1" + "0" * 5000),
        GOOD.replace("55.0", "Infinity"),
        GOOD.replace("55.0", "-1"),
        GOOD.replace("gcn", "zca"),
        GOOD.replace('"gcn"', "{}"),
        GOOD.replace('"about"', '"More"'),
    ],
)
def test_statistics_of_another_shape_are_none(tmp_path, text):
    path = tmp_path / "statistics.npz"
    np.savez(path, json=np.array(GOOD))
    assert normalization.read(path) is not None
    np.savez(path, json=np.array(text))
    assert normalization.read(path) is None


@pytest.mark.parametrize("damage", hostile.bad_npz())
def test_damaged_statistics_are_none(tmp_path, damage):
    path = tmp_path / "statistics.npz"
    path.write_bytes(hostile.bad_npz()[damage])
    assert normalization.read(path) is None


def test_channels_need_no_statistics(dataset):
    assert normalization.measure(dataset, "channels") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "zac"}, r"preprocess='zac' does not exist: did you mean zca\?"),
        ({"kind": "zca", "epsilon": 0.0}, "zca_epsilon=0.0 must be positive"),
        ({"kind": "gcn", "scale": -1.0}, "gcn_scale=-1.0 must be positive"),
    ],
)
def test_what_cannot_be_measured_is_one_line(dataset, fields, message):
    with pytest.raises(UserError, match=message):
        normalization.measure(dataset, **fields)


def test_other_sizes_are_refused(dataset):
    large = load("synthetic", "train", image_size=96, num_examples=2)
    with pytest.raises(UserError, match="cannot whiten images of 96x96x3"):
        normalization.measure(large, "zca")
    statistics = normalization.measure(dataset, "mean_image")
    with pytest.raises(UserError, match="measured on images of 6x6x3 and these are 96x96x3"):
        normalize(large.images, statistics=statistics, **PLAIN)


class Normed(nn.Module):
    """A linear network with BatchNorm."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.BatchNorm(use_running_average=not train)(images.reshape(len(images), -1))
        return nn.Dense(10)(x)


def large(text):
    """Returns the bytes of each constant over 2 KB of a lowered program."""
    return [len(digits) // 2 for digits in re.findall(r'dense<"0x([0-9A-F]{4096,})', text)]


class LoweredError(Exception):
    """Raised in place of a call of a compiled program."""


@pytest.fixture
def large_constants(monkeypatch):
    """A function that lowers the program which another one would run; it returns `large`."""

    def lower(program, *arguments):
        lower.texts.append(program.lower(*arguments).as_text())
        raise LoweredError

    def found(call, *arguments):
        lower.texts = []
        with pytest.raises(LoweredError):
            call(*arguments)
        (text,) = lower.texts
        return large(text)

    monkeypatch.setattr(distributed.Program, "__call__", lower)
    return found


@pytest.mark.parametrize(("kind", "steps"), [("zca", 1), ("zca", 2), ("mean_image", 1)])
def test_statistics_are_no_constants_of_compiled_programs(
    kind, steps, large_constants, monkeypatch
):
    """At 32x32 the matrix would add 38 MB to every program, and to every file of the cache."""
    config = recipes.recipe("lenet5_modern")
    config.data.update(image_size=32, pad=0, preprocess=kind, num_examples=64)
    config.data.kind = "synthetic"
    config.train.update(batch_size=8, steps_per_call=steps)
    config.eval.recalibrate_batches = 1
    dataset = build_data.load_data(config, "train")
    size = np.prod(dataset.image_shape)
    whiten = np.random.default_rng(0).random((size, size), np.float32) if kind == "zca" else None
    statistics = normalization.Statistics(
        kind, 55.0, np.ones(dataset.image_shape, np.float32), whiten
    )
    monkeypatch.setattr(build, "make_model", lambda *_: Normed())
    monkeypatch.setattr(averages, "fit", lambda model, *_: model)
    plan = build.make_plan(config, dataset.num_examples)
    built = programs.make_programs(freeze(config), dataset, dataset, plan, statistics)
    state = built.initial.state_shape
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), state.variables())
    rows = [train_batch(dataset, batch_size=8, seed=0, step=step) for step in range(steps)]
    batch = distributed.shard(*rows) if steps == 1 else distributed.shard_steps(rows, steps)
    predict = evaluator.make_predictor(config, built.model, dataset, statistics)
    recalibrate = evaluator.make_recalibrator(config, built.model, dataset, statistics)
    train_step = built.train_step if steps == 1 else built.train_steps
    assert large_constants(train_step, state, batch) == []
    assert large_constants(built.evaluate, variables) == []
    assert large_constants(predict, variables) == []
    assert large_constants(recalibrate, variables, 0) == []


@pytest.mark.slow
def test_statistics_are_no_constants_of_the_programs_of_commands(tmp_path):
    """Of a prediction, of features and of a preview."""
    config = recipes.recipe("lenet5_modern")
    config.data.update(image_size=8, pad=0, preprocess="zca", num_examples=32)
    statistics = build_data.measure_statistics(config, build_data.load_data(config, "train"))
    found = SimpleNamespace(variables={}, statistics=statistics)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    jax.config.update("jax_dump_ir_to", str(tmp_path))
    try:
        flat = restore.on_images(config, found, lambda _, images: images.reshape(2, -1))(images)
        preview.cells(config, count=1)
    finally:
        jax.config.update("jax_dump_ir_to", "")
    expected = normalize(images, statistics=statistics, **PLAIN).reshape(2, -1)
    np.testing.assert_allclose(flat, expected, atol=1e-4)
    texts = {path.name: path.read_text() for path in tmp_path.glob("*.mlir")}
    for program in ("jit_program", "jit_augment"):
        assert any(program in name for name in texts)
    assert {name: large(text) for name, text in texts.items() if large(text)} == {}
