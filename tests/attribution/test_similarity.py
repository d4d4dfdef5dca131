import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxcnn.attribution.similarity import spearman, ssim, unit_range


def maps(seed, shape=(3, 16, 12)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_rank_correlation_is_that_of_scipy_with_ties_too():
    first, second = maps(0), maps(1)
    second = second + first  # related
    ties = np.round(first, 0), np.round(second, 0)
    for one, two in [(first, second), ties]:
        expected = [stats.spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(one, two, strict=True)]
        np.testing.assert_allclose(spearman(one, two), expected, atol=2e-6)


def test_rank_correlation_of_orders():
    first = maps(0)
    np.testing.assert_allclose(spearman(first, np.exp(first)), 1, atol=1e-6)
    np.testing.assert_allclose(spearman(first, -(first**3)), -1, atol=1e-6)
    assert np.abs(spearman(maps(0, (4, 64, 64)), maps(1, (4, 64, 64)))).max() < 0.1


def test_a_constant_map_has_no_order():
    first, constant = maps(0), np.zeros((3, 16, 12), np.float32)
    np.testing.assert_array_equal(spearman(first, constant), 0)
    np.testing.assert_array_equal(spearman(constant, constant), 1)
    np.testing.assert_array_equal(spearman(constant, constant + 1), 0)


def reference_ssim(one, two):
    """The paper's formula (13) with SciPy's Gaussian filter, whose 5 pixels of border are cut."""

    def blur(x):
        return ndimage.gaussian_filter(x.astype(np.float64), 1.5, truncate=3.5)[5:-5, 5:-5]

    mean_1, mean_2 = blur(one), blur(two)
    variance_1, variance_2 = blur(one**2) - mean_1**2, blur(two**2) - mean_2**2
    covariance = blur(one * two) - mean_1 * mean_2
    above = (2 * mean_1 * mean_2 + 0.01**2) * (2 * covariance + 0.03**2)
    below = (mean_1**2 + mean_2**2 + 0.01**2) * (variance_1 + variance_2 + 0.03**2)
    return (above / below).mean()


def test_ssim_is_the_papers_formula():
    first = np.asarray(unit_range(maps(0, (3, 20, 24))))
    second = np.asarray(unit_range(first + 0.3 * maps(1, (3, 20, 24))))
    expected = [reference_ssim(one, two) for one, two in zip(first, second, strict=True)]
    np.testing.assert_allclose(ssim(first, second), expected, atol=1e-5)
    assert 0.1 < np.min(expected) < np.max(expected) < 0.95


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 1, 1), (2, 32, 32)])
def test_ssim_of_equal_maps_is_one_at_any_size(shape):
    first = np.asarray(unit_range(maps(0, shape)))
    np.testing.assert_allclose(ssim(first, first), 1, atol=1e-5)


def test_unit_range():
    scaled = unit_range(jnp.asarray([[[2.0, 4.0]], [[5.0, 5.0]]]))
    np.testing.assert_array_equal(scaled, [[[0, 1]], [[0, 0]]])
