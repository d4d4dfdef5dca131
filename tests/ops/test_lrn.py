import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops.lrn import local_response_norm

X = 10 * np.random.default_rng(0).normal(size=(2, 3, 4, 9)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("over_n", [False, True])
def test_formula_channel_by_channel(size, over_n):
    k, alpha, beta = 2.0, 0.01, 0.75
    got = local_response_norm(X, size, k, alpha, beta, over_n)
    factor = alpha / size if over_n else alpha
    for i in range(9):
        near = X[..., max(0, i - size // 2) : i + size // 2 + 1].astype(np.float64)
        expected = X[..., i] / (k + factor * (near**2).sum(-1)) ** beta
        np.testing.assert_allclose(got[..., i], expected, rtol=1e-5)


def test_defaults_are_alexnets():
    got = local_response_norm(X)
    np.testing.assert_array_equal(got, local_response_norm(X, 5, 2.0, 1e-4, 0.75, False))


def test_type_stays_and_sums_are_wide():
    half = local_response_norm(jnp.asarray(X, jnp.bfloat16), alpha=0.01)
    assert half.dtype == jnp.bfloat16
    exact = local_response_norm(jnp.asarray(X, jnp.bfloat16).astype(jnp.float32), alpha=0.01)
    np.testing.assert_allclose(half.astype(jnp.float32), exact, rtol=2**-8)
    with jax.enable_x64(True):
        assert local_response_norm(X.astype(np.float64)).dtype == jnp.float64


def test_gradient_in_a_compiled_program():
    weight = np.random.default_rng(1).normal(size=X.shape)

    def plain(x):
        wide = jnp.pad(x**2, ((0, 0), (0, 0), (0, 0), (2, 2)))
        sums = sum(wide[..., i : i + 9] for i in range(5))
        return jnp.vdot(weight, x / (2 + 0.01 * sums) ** 0.75)

    with jax.enable_x64(True):
        x = X.astype(np.float64)
        got = jax.jit(jax.grad(lambda x: jnp.vdot(weight, local_response_norm(x, alpha=0.01))))(x)
        np.testing.assert_allclose(got, jax.grad(plain)(x), rtol=1e-12, atol=1e-14)
