"""Products of few rows with a large matrix have the values and gradients of jax.lax."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.layers import Dense
from jaxcnn.ops.matmul import CHUNK, LARGE, dot_general
from tests.marks import exhaustive
from tests.ops.switched import OUR_FORMS

LAST_WITH_FIRST = (((1,), (0,)), ((), ()))


def test_signature_is_that_of_lax():
    def calls(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default, p.kind) for p in parameters]

    assert calls(dot_general) == calls(jax.lax.dot_general)


def value_and_gradients(product, dtype, rows):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (rows, LARGE // 1024), (LARGE // 1024, 1024), (rows, 1024)
    x, w, g = (jax.random.normal(key, s, dtype) for key, s in zip(keys, shapes, strict=True))
    value, pull = jax.vjp(lambda x, w: product(x, w, LAST_WITH_FIRST), x, w)
    return [np.asarray(each, np.float64) for each in (value, *pull(g))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(jnp.float32, 1e-5), exhaustive(jnp.bfloat16, 2e-2), exhaustive(jnp.float64, 1e-12)],
)
@pytest.mark.parametrize("rows", [1, 16])
def test_values_and_gradients_are_those_of_lax(dtype, bound, rows):
    with jax.enable_x64(dtype == jnp.float64):
        found = value_and_gradients(dot_general, dtype, rows)
        expected = value_and_gradients(jax.lax.dot_general, dtype, rows)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(theirs)


@OUR_FORMS
@pytest.mark.parametrize(("rows", "inputs", "loops"), [(16, 4096, 1), (65, 4096, 0), (2, 5000, 0)])
def test_only_few_rows_and_whole_chunks_go_in_a_loop(rows, inputs, loops):
    assert (inputs % CHUNK == 0 and rows <= 64) == bool(loops)
    x, w = jnp.ones((rows, inputs)), jnp.ones((inputs, 1024))
    gradient = jax.grad(lambda x: dot_general(x, w, LAST_WITH_FIRST).sum())
    assert jax.jit(gradient).lower(x).as_text().count("stablehlo.while") == loops


@pytest.mark.slow
def test_a_layer_maps_and_differentiates_twice():
    layer, plain = Dense(1024, use_bias=False), nn.Dense(1024, use_bias=False)
    x = jax.random.normal(jax.random.key(1), (2, 3, 4096))
    variables = plain.init(jax.random.key(0), x[0])

    def slope(layer):
        def loss(x):
            return jnp.sum(jax.vmap(lambda x: layer.apply(variables, x))(x) ** 3)

        return jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 2))(x)

    np.testing.assert_allclose(slope(layer), slope(plain), rtol=1e-3, atol=1e-3)
