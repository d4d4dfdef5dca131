"""SmoothGrad and VarGrad, against the mean and the variance of gradients taken one by one."""

import jax
import numpy as np
import pytest

from jaxcnn import attribution
from jaxcnn.attribution.backprop import smooth_grad
from jaxcnn.errors import UserError
from tests.attribution.small import Small, drawn, pictures

KEY = jax.random.key(7)
MODEL = Small(param_dtype=np.float32)
IMAGES = pictures() * np.array([1, 3], np.float32).reshape(2, 1, 1, 1)


@pytest.fixture(scope="module")
def variables():
    return drawn(MODEL, IMAGES)


@pytest.mark.slow
def test_one_sample_without_noise_is_saliency(variables):
    pixels = attribution.smoothgrad(MODEL, variables, IMAGES, key=KEY, samples=1, noise=0)
    np.testing.assert_allclose(
        attribution.largest_magnitude(pixels),
        attribution.saliency(MODEL, variables, IMAGES),
        rtol=1e-5,
        atol=1e-6,
    )
    variance = attribution.vargrad(MODEL, variables, IMAGES, key=KEY, samples=5, noise=0)
    np.testing.assert_allclose(variance, 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 5, smooth_grad.BATCH, 2 * smooth_grad.BATCH + 3])
def test_mean_and_variance_are_those_of_the_gradients(variables, samples):
    """Also where the last batch of noisy copies is not full."""
    classes, noise = np.array([1, 2]), 0.2
    spans = IMAGES.max((1, 2, 3)) - IMAGES.min((1, 2, 3))
    gradients = []
    for number in range(samples):
        drawn_noise = jax.random.normal(jax.random.fold_in(KEY, number), IMAGES.shape[1:])
        noisy = IMAGES + noise * spans.reshape(2, 1, 1, 1) * np.asarray(drawn_noise)[None]
        gradients.append(attribution.pixel_gradient(MODEL, variables, noisy, classes))
    settings = {"key": KEY, "samples": samples, "noise": noise}
    mean = attribution.smoothgrad(MODEL, variables, IMAGES, classes, **settings)
    variance = attribution.vargrad(MODEL, variables, IMAGES, classes, **settings)
    np.testing.assert_allclose(mean, np.mean(gradients, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, np.var(gradients, 0), rtol=1e-3, atol=1e-5)
    assert samples == 1 or np.asarray(variance).max() > 1e-2


@pytest.mark.slow
def test_the_key_decides(variables):
    first, again, other = (
        attribution.smoothgrad(MODEL, variables, IMAGES, key=key, samples=3)
        for key in (KEY, KEY, jax.random.key(8))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples=0 is too small"),
        ({"noise": -0.1}, "noise=-0.1: give a share"),
        ({"noise": float("nan")}, "noise=nan"),
    ],
)
def test_settings_that_make_no_sense(variables, settings, message):
    with pytest.raises(UserError, match=message):
        attribution.smoothgrad(MODEL, variables, IMAGES, key=KEY, **settings)
