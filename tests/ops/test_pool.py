"""Pooling against windows cut out by hand, in every combination of padding, stride and mode."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops.pool import adaptive_avg_pool, avg_pool, max_pool

IMAGES = np.random.default_rng(0).normal(size=(2, 13, 16, 3)).astype(np.float32)


def starts(length, k, s, p, ceil_mode):
    """Where windows start, as torch and Caffe place them."""
    rounded = np.ceil if ceil_mode else np.floor
    count = int(rounded((length + 2 * p - k) / s)) + 1
    return [i * s - p for i in range(count) if i * s - p < length or not ceil_mode]


def windows(k, s, p, ceil_mode):
    """For each output: the pixels of the image, and the window's size within the padded image."""
    rows, columns = (starts(n, k, s, p, ceil_mode) for n in IMAGES.shape[1:3])
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        (top, bottom), (left, right) = (
            (at, min(at + k, n + p))
            for at, n in zip((rows[i], columns[j]), IMAGES.shape[1:3], strict=True)
        )
        pixels = IMAGES[:, max(top, 0) : min(bottom, 13), max(left, 0) : min(right, 16)]
        yield i, j, pixels, (bottom - top) * (right - left)


CASES = [
    (k, s, p, ceil_mode)
    for k, s, p, ceil_mode in itertools.product((2, 3, 5), (1, 2, 3), (0, 1), (False, True))
]


@pytest.mark.parametrize(("k", "s", "p", "ceil_mode"), CASES)
def test_pools_see_the_pixels_of_their_windows(k, s, p, ceil_mode):
    arguments = ((k, k), (s, s), p, ceil_mode)
    largest = max_pool(IMAGES, *arguments)
    full, inside = (avg_pool(IMAGES, *arguments, count_include_pad=c) for c in (True, False))
    last = (0, 0)
    for i, j, pixels, size in windows(k, s, p, ceil_mode):
        np.testing.assert_array_equal(largest[:, i, j], pixels.max((1, 2)))
        np.testing.assert_allclose(full[:, i, j], pixels.sum((1, 2)) / size, atol=1e-6)
        np.testing.assert_allclose(inside[:, i, j], pixels.mean((1, 2)), atol=1e-6)
        last = (i, j)
    assert largest.shape == full.shape == inside.shape == (2, last[0] + 1, last[1] + 1, 3)


def test_tensorflow_padding_by_name():
    same = max_pool(IMAGES, (3, 3), (2, 2), "SAME")
    assert same.shape == (2, 7, 8, 3)
    # 16 columns need one more on the right, 13 rows one on either side.
    np.testing.assert_array_equal(same[:, 0, 0], IMAGES[:, :2, :3].max((1, 2)))
    np.testing.assert_array_equal(same[:, -1, -1], IMAGES[:, -2:, -2:].max((1, 2)))
    with pytest.raises(ValueError, match="ceil_mode"):
        max_pool(IMAGES, (3, 3), (2, 2), "SAME", ceil_mode=True)


@pytest.mark.parametrize("size", [(6, 6), (1, 1), (4, 5), (20, 7)])
def test_adaptive_bins(size):
    got = adaptive_avg_pool(IMAGES, size)
    assert got.shape == (2, *size, 3)
    for i, j in itertools.product(*map(range, size)):
        top, left = i * 13 // size[0], j * 16 // size[1]
        bottom, right = -(-(i + 1) * 13 // size[0]), -(-(j + 1) * 16 // size[1])
        expected = IMAGES[:, top:bottom, left:right].mean((1, 2))
        np.testing.assert_allclose(got[:, i, j], expected, atol=1e-6)


def test_adaptive_pool_of_a_map_that_fits_is_the_map():
    x = jnp.asarray(IMAGES)
    assert adaptive_avg_pool(x, (13, 16)) is x


def test_bfloat16_stays():
    x = jax.ShapeDtypeStruct(IMAGES.shape, jnp.bfloat16)
    for pool in (max_pool, avg_pool):
        assert jax.eval_shape(lambda x, f=pool: f(x, (3, 3), (2, 2), 1), x).dtype == jnp.bfloat16
    assert jax.eval_shape(lambda x: adaptive_avg_pool(x, (7, 7)), x).dtype == jnp.bfloat16
