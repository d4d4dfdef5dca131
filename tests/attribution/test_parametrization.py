import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attribution.parametrization import (
    color_matrix,
    correlate_colors,
    decorrelate_colors,
    fourier_to_images,
    frequency_scale,
    images_to_fourier,
    total_variation,
    warp,
)
from jaxcnn.data.augmentation import augment


@pytest.mark.parametrize("shape", [(2, 7, 10, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_fourier_round_trip(shape, decay):
    images = jax.random.normal(jax.random.key(0), shape)
    coefficients = images_to_fourier(images, decay)
    assert coefficients.shape == (*shape[:2], shape[2] // 2 + 1, shape[3], 2)
    again = fourier_to_images(coefficients, shape[1:3], decay)
    np.testing.assert_allclose(again, images, atol=2e-6)


def test_one_coefficient_is_one_wave():
    coefficients = np.zeros((1, 8, 5, 1, 2), np.float32)
    coefficients[0, 0, 1, 0, 0] = 1  # real, one period across
    image = fourier_to_images(jnp.asarray(coefficients), (8, 8))[0, :, :, 0]
    # The wave and its conjugate; the orthonormal transform divides by the side.
    expected = 2 / 8 * frequency_scale(8, 8)[0, 1] * np.cos(2 * np.pi * np.arange(8) / 8)
    np.testing.assert_allclose(image, np.tile(expected, (8, 1)), atol=1e-6)


def test_low_frequencies_are_scaled_up_by_one_over_f():
    scale = frequency_scale(32, 32)
    np.testing.assert_allclose(scale[0, 1] / scale[0, 4], 4)
    np.testing.assert_allclose(scale[0, 0], scale[0, 1])
    drawn = jax.random.normal(jax.random.key(0), (8, 32, 17, 3, 2)) / np.sqrt(2)
    assert 0.85 < float(jnp.std(fourier_to_images(drawn, (32, 32)))) < 1.15


def test_the_matrix_of_colors_has_an_inverse():
    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    np.testing.assert_allclose(decorrelate_colors(correlate_colors(images)), images, atol=1e-5)
    one = images[..., :1]
    np.testing.assert_array_equal(correlate_colors(one), one)


def test_the_first_axis_of_colors_is_brightness():
    matrix = color_matrix(3)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=0).max(), 1, atol=1e-4)
    assert (matrix[:, 0] < -0.5).all()
    axes, variances = np.array(augment.PCA_COMPONENTS), np.array(augment.PCA_SCALE)
    covariance = axes @ np.diag(variances / variances[0]) @ axes.T
    np.testing.assert_allclose(matrix @ matrix.T, covariance, atol=1e-6)


def moved(image, shift=(0, 0), scale=1.0, angle=0.0):
    arguments = (jnp.array([shift], jnp.float32), jnp.array([scale]), jnp.array([angle]))
    return warp(jnp.asarray(image)[None], *arguments)[0]


@pytest.mark.slow
def test_warp_shifts_turns_and_enlarges():
    image = np.random.default_rng(0).normal(size=(9, 9, 2)).astype(np.float32)
    np.testing.assert_allclose(moved(image), image, atol=1e-6)
    np.testing.assert_allclose(moved(image, (2, -1))[2:, :-1], image[:-2, 1:], atol=1e-6)
    turned = moved(image, angle=np.pi / 2)
    np.testing.assert_allclose(turned, np.rot90(image), atol=1e-5)
    large = moved(image, scale=2.0)
    np.testing.assert_allclose(large[::2, ::2], image[2:7, 2:7], atol=1e-6)
    half = moved(image, (0, 0.5))  # between two pixels
    np.testing.assert_allclose(half[:, 1:], (image[:, 1:] + image[:, :-1]) / 2, atol=1e-6)


@pytest.mark.slow
def test_warp_mirrors_at_the_border():
    image = np.arange(4.0, dtype=np.float32).reshape(1, 4, 1)
    np.testing.assert_allclose(moved(image, (0, 2))[0, :, 0], [1, 0, 0, 1])
    np.testing.assert_allclose(moved(image, (0, -6))[0, :, 0], [1, 0, 0, 1])


def test_total_variation():
    image = jnp.array([[[0.0, 1], [2, 5]]])[..., None]
    np.testing.assert_allclose(total_variation(image), [(1 + 3 + 2 + 4) / 4])
