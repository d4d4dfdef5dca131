"""Sums by slices and what is computed once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.reductions import SMALL, norm, sum_over_pixels
from tests.ops.switched import OUR_FORMS


@pytest.mark.parametrize(
    "shape", [(2, 64, 33, 17), (1, 149, 30, 16), (70, 5, 37, 8), (4, 13, 40, 40)]
)
def test_sums_by_slices_are_the_sums(shape):
    x, y = jax.random.normal(jax.random.key(0), (2, *shape))
    assert x.size >= SMALL
    offset = jnp.arange(shape[-1], dtype=jnp.float32).reshape(1, 1, 1, -1)
    found = jax.jit(lambda x, y: sum_over_pixels(lambda a, b: a * (b - offset), x, y))(x, y)
    expected = np.sum(np.float64(x) * (np.float64(y) - np.float64(offset)), (0, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_sums_are_taken_in_float32():
    ones = jnp.ones((8, 64, 64, 2), jnp.bfloat16)
    total = sum_over_pixels(lambda x: x, ones)
    assert total.dtype == jnp.float32
    np.testing.assert_array_equal(total, [8 * 64 * 64] * 2)


@pytest.mark.parametrize("values", [[1.0, -2.0], [np.nan, 3.0], [np.inf, 4.0], [-np.inf, 0.0], []])
def test_a_materialised_array_is_the_same(values):
    x = jnp.asarray(values, jnp.float32)
    np.testing.assert_array_equal(jax.jit(materialize_on_cpu)(x), x)


def test_a_materialised_array_passes_gradients_on_and_maps():
    x = jnp.arange(6.0).reshape(2, 3)
    slope = jax.grad(lambda x: jnp.sum(jax.vmap(materialize_on_cpu)(x) ** 2))(x)
    np.testing.assert_array_equal(slope, 2 * x)


@OUR_FORMS
@pytest.mark.parametrize("whole", [materialize_on_cpu, lambda x: x])
def test_what_is_materialised_is_computed_once(whole):
    def sums(x):
        x = whole(jnp.sin(x))
        return x.sum(0), (x * x).sum(1), x[::2] * 2

    text = jax.jit(sums).lower(jnp.ones((64, 64))).compile().as_text()
    assert (text.count(" sine(") == 1) == (whole is materialize_on_cpu)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_norm_of_a_tree_is_that_of_all_its_numbers(dtype):
    shapes = {
        "large": (300, 257),
        "larger": (4096, 513),
        "small": (7, 3),
        "one": (),
        "none": (0, 2),
    }
    keys = jax.random.split(jax.random.key(0), len(shapes))
    tree = {
        name: jax.random.normal(key, shape, dtype)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    numbers = np.concatenate([np.ravel(np.float64(leaf)) for leaf in tree.values()])
    found = jax.jit(norm)(tree)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.linalg.norm(numbers), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_norm_is_not_finite_if_one_number_is_not(value):
    x = jnp.ones(SMALL + 5).at[-1].set(value)
    assert not np.isfinite(jax.jit(norm)([x]))


@pytest.mark.slow
@OUR_FORMS
def test_the_norm_of_many_small_arrays_is_few_kernels():
    arrays = [jnp.ones(SMALL // 100 + n) for n in range(200)]
    program = jax.jit(norm).lower(arrays).compile().as_text()
    assert program.count(" fusion(") < 30
