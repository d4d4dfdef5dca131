"""Keras's networks have the same logits, training and layers here.

The references were made by Keras, see `make_keras_references`; Keras itself is needed by exhaustive
tests alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.interop import from_keras, read_weights
from jaxcnn.interop.exchange import create_library_model, variable_shapes
from jaxcnn.interop.keras_tables import KERAS
from tests.interop.drawn import drawn_layer
from tests.interop.keras_small import (
    FILES,
    FOLDER,
    LAYERS,
    assert_same,
    error,
    network,
    state,
    without_names,
)
from tests.marks import exhaustive, slow

QUICK = ("ResNet50", "ResNet50V2", "DenseNet121")

# Numbers ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [exhaustive("float32", 1e-5), ("float64", 1e-10)],
)
@pytest.mark.parametrize("name", [n if n in QUICK else slow(n) for n in FILES])
def test_logits_are_those_of_keras(name, dtype, tolerance):
    reference = np.load(FOLDER / f"{name}.npz")
    with jax.enable_x64(dtype == "float64"):
        model, variables = network(name, jnp.dtype(dtype))
        images = (reference["images"] / 64).astype(dtype)
        logits = jax.jit(model.apply)(variables, images)
    assert logits.dtype == dtype
    assert error(logits, reference["logits"]) <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "ResNet50V2" else pytest.mark.exhaustive)
        for name in FILES
        if name != "VGG16"
    ],
)
def test_a_training_step_moves_statistics_as_in_keras(name):
    """Keras's own statistics after the step, converted, are ours after it."""
    reference = np.load(FOLDER / f"{name}.npz")
    arrays = state(name)
    prefix = next(iter(arrays)).rpartition("/")[0].rpartition("/")[0]  # of a nested network
    prefix += "/" * bool(prefix)
    moved = {f"{prefix}{key}": reference[key] for key in reference if "moving_" in key}
    assert moved.keys() < arrays.keys()
    with jax.enable_x64(True):
        fields = {"dropout_rate": 0.0} if name == "MobileNet" else {}
        model, variables = network(name, np.float64, arrays, **fields)
        step = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))
        logits, updates = step(variables, reference["images"] / 64)
        _, expected = network(name, np.float64, arrays | moved, **fields)
        assert error(logits, reference["trained"]) <= 1e-10
        errors = jax.tree.map(error, updates["batch_stats"], expected["batch_stats"])
    assert max(jax.tree.leaves(errors)) <= 1e-10
    before = jax.tree.leaves(variables["batch_stats"])
    assert min(map(error, before, jax.tree.leaves(expected["batch_stats"]))) > 1e-6


@pytest.mark.exhaustive
def test_inception_v3_has_the_logits_of_keras():
    """It has no small member: its weights are drawn from their names here and there."""
    reference = np.load(FOLDER / "InceptionV3.npz")
    arrays = {}
    for kind, name, shapes in LAYERS["InceptionV3"]:
        arrays |= {f"{name}/{v}": a for v, a in drawn_layer(kind, name, shapes).items()}
    with jax.enable_x64(True):
        model, variables = from_keras(
            arrays, "InceptionV3", dtype=np.float64, param_dtype=np.float64
        )
        logits = jax.jit(model.apply)(variables, reference["images"] / 64)
    assert error(logits, reference["logits"]) <= 1e-10


COUNTS = {  # printed by Keras, with statistics
    "VGG16": 138_357_544,
    "VGG19": 143_667_240,
    "ResNet50": 25_636_712,
    "ResNet101": 44_707_176,
    "ResNet152": 60_419_944,
    "ResNet50V2": 25_613_800,
    "ResNet101V2": 44_675_560,
    "ResNet152V2": 60_380_648,
    "DenseNet121": 8_062_504,
    "DenseNet169": 14_307_880,
    "DenseNet201": 20_242_984,
    "InceptionV3": 23_851_784,
    "InceptionResNetV2": 55_873_736,
    "MobileNet": 4_253_864,
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", KERAS)
def test_every_network_has_as_many_numbers_as_in_keras(name):
    """Ours, and the biases that are subtracted from means."""
    model = create_library_model("keras", name, parent=None)
    leaves = variable_shapes(model, None, KERAS[name])
    biases = KERAS[name].biases(model) if KERAS[name].biases else {}
    convolutions = {path for paths in biases.values() for path in paths}
    subtracted = [leaves["params", *path.split("/"), "kernel"].shape[-1] for path in convolutions]
    assert sum(leaf.size for leaf in leaves.values()) + sum(subtracted) == COUNTS[name]


# Keras itself -----------------------------------------------------------------------------------

SIZES = {  # of images; odd ones where padding matters
    **dict.fromkeys(("VGG16", "VGG19"), 64),
    **dict.fromkeys(("ResNet50", "ResNet50V2", "DenseNet121", "MobileNet"), 71),
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2"), 99),
}


def written_by_keras(model, folder):
    """Yields the arrays of a model's file in each format."""
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    for name in ("model.keras", "model.h5", "model.weights.h5"):
        yield read_weights(folder / name)
        if name != "model.weights.h5":
            (folder / name).unlink()
    yield without_names(folder / "model.weights.h5", folder / "copy.weights.h5")


@pytest.mark.exhaustive
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KERAS)
def test_the_network_that_keras_makes_and_writes_is_ours(name, dtype, tmp_path):
    pytest.importorskip("keras")
    from tests.interop import keras_members as members

    size = SIZES.get(name, 64)
    with jax.enable_x64(dtype == "float64"), jax.numpy_rank_promotion("allow"):
        members.compute_in(dtype)
        theirs = members.fill(members.application(name, size))
        images = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(dtype)
        expected = np.asarray(theirs(images, training=False))
        assert expected.dtype == dtype
        formats = written_by_keras(theirs, tmp_path) if dtype == "float32" else ()
        found = [members.arrays(theirs), *formats]
    with jax.enable_x64(dtype == "float64"):
        fields = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(dtype)}
        model, variables = from_keras(found[0], name, **fields)
        logits = jax.jit(model.apply)(variables, images)
        assert error(logits, expected) <= (1e-5 if dtype == "float32" else 1e-10)
        for arrays in found[1:]:
            assert_same(from_keras(arrays, name, **fields)[1], variables)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_gradients_are_those_of_keras(name):
    """Of the logits' sum of squares in training, with respect to all weights."""
    pytest.importorskip("keras")
    from tests.interop import keras_members as members

    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        members.compute_in("float64")
        theirs = members.fill(members.MEMBERS[name]())
        images = np.random.default_rng(1).normal(size=(3, *theirs.input_shape[1:]))
        weights = members.arrays(theirs)
        expected = weights | members.gradients(theirs, images)

    def loss(params, rest):
        logits, _ = model.apply(
            {"params": params, **rest}, images, train=True, mutable="batch_stats"
        )
        return jnp.sum(logits**2)

    with jax.enable_x64(True):
        fields = {"dropout_rate": 0.0} if name == "MobileNet" else {}
        model, variables = network(name, np.float64, weights, **fields)
        params = variables.pop("params")
        found = jax.jit(jax.grad(loss))(params, variables)
        expected = network(name, np.float64, expected, **fields)[1]["params"]
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for ours, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-10 * largest)
