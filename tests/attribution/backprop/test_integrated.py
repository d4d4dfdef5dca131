"""Integrated gradients: sums that are known, and the completeness gap."""

import flax
import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import attribution, create_model
from jaxcnn.attribution.backprop import integrated
from jaxcnn.errors import UserError
from tests.attribution.small import Small, drawn, pictures

MODEL = Small(param_dtype=np.float32)
IMAGES = pictures()


@pytest.fixture(scope="module")
def variables():
    return drawn(MODEL, IMAGES)


class Powers(nn.Module):
    """Two logits: the sum of x², and the sum of x³."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, x, train=False):
        sums = [(x**power).sum((1, 2, 3)) for power in (2, 3)]
        return jax.numpy.stack(sums, axis=-1)


def test_powers_are_integrated_exactly():
    """From a to b each pixel of Σ xᵏ gets bᵏ - aᵏ; m nodes are exact up to degree 2m - 1."""
    start = pictures(count=1, seed=5)[0]
    for label, power in ((0, 2), (1, 3)):
        result = attribution.integrated_gradients(
            Powers(), {}, IMAGES, label, baseline=start, steps=2
        )
        np.testing.assert_allclose(
            result.pixels, IMAGES**power - start[None] ** power, rtol=1e-4, atol=1e-5
        )
    riemann = attribution.integrated_gradients(
        Powers(), {}, IMAGES, 0, steps=4, rule="riemann", tolerance=None
    )
    np.testing.assert_allclose(riemann.pixels, IMAGES**2 * (1 + 1 / 4), rtol=1e-5)
    np.testing.assert_allclose(riemann.gap, 1 / 4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        (integrated.BATCH + 1, "gauss_legendre"),
        (3, "riemann"),
        *(
            pytest.param(steps, rule, marks=pytest.mark.exhaustive)
            for steps, rule in [(1, "gauss_legendre"), (1, "riemann"), (3, "gauss_legendre")]
        ),
    ],
)
def test_the_sum_is_that_of_gradients_taken_one_by_one(variables, rule, steps):
    classes = np.array([1, 2])
    places, weights = integrated.path_nodes(steps, rule)
    assert weights.sum() == pytest.approx(1)
    total = sum(
        weight * attribution.pixel_gradient(MODEL, variables, IMAGES * np.float32(place), classes)
        for place, weight in zip(places, weights.astype(np.float32), strict=True)
    )
    result = attribution.integrated_gradients(
        MODEL, variables, IMAGES, classes, steps=steps, rule=rule, tolerance=None
    )
    assert result.steps.tolist() == [steps] * 2
    np.testing.assert_allclose(result.pixels, IMAGES * total, rtol=1e-4, atol=1e-5)
    logits, zero = (np.asarray(MODEL.apply(variables, x)) for x in (IMAGES, 0 * IMAGES))
    difference = (logits - zero)[np.arange(2), classes]
    np.testing.assert_allclose(result.difference, difference, rtol=1e-4, atol=1e-5)
    missed = np.abs(result.pixels.sum((1, 2, 3)) - difference)
    np.testing.assert_allclose(result.gap, missed / np.abs(difference), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("baseline", ["zero", "mean", "given"])
def test_baselines(variables, baseline):
    starts = {
        "zero": np.zeros_like(IMAGES),
        "mean": np.broadcast_to(IMAGES.mean((1, 2), keepdims=True), IMAGES.shape),
        "given": pictures(seed=9),
    }
    start = starts[baseline]
    given = start if baseline == "given" else baseline
    result = attribution.integrated_gradients(
        MODEL, variables, IMAGES, 0, baseline=given, steps=512
    )
    logits = [np.asarray(MODEL.apply(variables, x))[:, 0] for x in (IMAGES, start)]
    np.testing.assert_allclose(result.difference, logits[0] - logits[1], rtol=1e-3, atol=1e-5)
    assert np.asarray(result.gap).max() < 0.01
    np.testing.assert_allclose(result.pixels[start == IMAGES], 0)


@pytest.mark.slow
def test_steps_are_doubled_until_the_gap_is_small():
    """The Riemann sum of 2x over [0, 1] in m steps is 1 + 1/m; another image is the baseline."""
    images = np.stack([np.ones((4, 4, 1), np.float32), np.zeros((4, 4, 1), np.float32)])

    def gap(tolerance):
        found = attribution.integrated_gradients(
            Powers(), {}, images, 0, steps=4, rule="riemann", tolerance=tolerance
        )
        np.testing.assert_allclose(found.pixels[0], 1 + 1 / found.steps[0], rtol=1e-5)
        np.testing.assert_allclose(found.gap, [1 / found.steps[0], 0], rtol=1e-4)
        return found.steps.tolist()

    assert gap(0.3) == [4, 4]
    assert gap(0.1) == [16, 4]
    assert gap(0.0) == [64, 4]  # the limit; a gap of 0 is small enough


@pytest.mark.slow
def test_of_fixed_steps_there_is_a_gradient(variables):
    def total(image):
        found = attribution.integrated_gradients(
            MODEL, variables, image, 0, steps=2, tolerance=None
        )
        return (found.pixels**2).sum()

    assert np.isfinite(jax.grad(total)(jax.numpy.asarray(IMAGES))).all()


def with_random_weights(name, size, channels):
    model = create_model(name)
    images = pictures(size=size, channels=channels)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path, leaf):  # biases and statistics off zero: else the network is homogeneous
        noise = rng.normal(size=leaf.shape)
        if path[-1] == "kernel":
            return (noise / np.sqrt(np.prod(leaf.shape[:-1]) / 2)).astype(leaf.dtype)
        return ((path[-1] in ("scale", "var")) + 0.1 * np.abs(noise)).astype(leaf.dtype)

    variables = flax.traverse_util.path_aware_map(draw, shapes)
    return attribution.integrated_gradients(model, variables, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("lenet5_modern", 28, 1),
        pytest.param("cifar_resnet20", 16, 3, marks=pytest.mark.exhaustive),
        pytest.param("densenet_40_12", 16, 3, marks=pytest.mark.exhaustive),
    ],
)
def test_the_gap_is_below_one_percent(name, size, channels):
    found = with_random_weights(name, size, channels)
    print(name, found.gap, found.steps)
    assert np.asarray(found.gap).max() < 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 is too small"),
        ({"tolerance": -0.1}, "tolerance=-0.1: give a share"),
        ({"rule": "simpson"}, "no rule 'simpson': choose one of gauss_legendre, riemann"),
        ({"baseline": "black"}, "no baseline 'black': choose one of mean, zero"),
        ({"baseline": np.zeros((4, 4, 2))}, r"the baseline is \[4, 4, 2\]"),
    ],
)
def test_settings_that_make_no_sense(variables, settings, message):
    with pytest.raises(UserError, match=message):
        attribution.integrated_gradients(MODEL, variables, IMAGES, **settings)
