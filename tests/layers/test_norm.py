"""Our batch normalisation beside Flax's, which differentiates its own formula."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.layers import BatchNorm
from jaxcnn.run import distributed
from tests.marks import exhaustive
from tests.ops.switched import OUR_FORMS

LARGE, SMALL, FLAT = (4, 32, 30, 20), (3, 5, 4, 7), (6, 9)  # the first is summed by slices


def outcome(norm, x, weights):
    """Value, statistics, and the gradients of a function of all of them, jitted."""
    module = norm(use_running_average=False, momentum=0.9)
    variables = module.init(jax.random.key(0), x)

    def loss(params, x):
        given = {**variables, "params": params}
        y, updated = module.apply(given, x, mutable=["batch_stats"])
        kept = updated["batch_stats"]
        told = jnp.sum(kept["mean"] ** 2) + jnp.sum(kept["var"])
        return jnp.sum(y.astype(weights.dtype) ** 2 * weights) + told, (y, kept)

    params = jax.tree.map(lambda leaf: leaf + 0.3, variables["params"])
    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [LARGE, SMALL, FLAT], ids=["large", "small", "flat"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [exhaustive("float64", 1e-11), ("float32", 2e-5), exhaustive("bfloat16", 2e-2)],
)
def test_values_statistics_and_gradients_are_those_of_flax(shape, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        dtype = jnp.dtype(dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        types = {"dtype": dtype, "param_dtype": wide, "force_float32_reductions": wide != dtype}
        x = (2 * jax.random.normal(jax.random.key(1), shape, wide) + 1).astype(dtype)
        weights = jax.random.normal(jax.random.key(2), shape, wide)
        ours = outcome(partial(BatchNorm, **types), x, weights)
        theirs = outcome(partial(nn.BatchNorm, **types), x, weights)
        for found, expected in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
            assert found.dtype == expected.dtype
            found, expected = np.float64(found), np.float64(expected)
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.slow
def test_statistics_of_several_devices_and_their_gradients():
    devices = jax.local_device_count()
    x = jax.random.normal(jax.random.key(0), (devices, 2, 6, 5, 3))
    weights = jax.random.normal(jax.random.key(1), x.shape)

    def gradients(norm):
        module = norm(use_running_average=False, axis_name=distributed.AXIS)
        variables = module.init(jax.random.key(0), x[0])

        def loss(x, weights):
            y, updated = module.apply(variables, x, mutable=["batch_stats"])
            return jnp.sum(y * weights) + updated["batch_stats"]["var"].sum()

        return jax.pmap(jax.value_and_grad(loss), axis_name=distributed.AXIS)(x, weights)

    assert devices > 1
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        gradients(BatchNorm),
        gradients(nn.BatchNorm),
    )


@pytest.mark.slow
def test_second_derivatives():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))

    def bend(norm):
        module = norm(use_running_average=False)
        variables = module.init(jax.random.key(0), x)

        def loss(x):
            return jnp.sum(module.apply(variables, x, mutable=["batch_stats"])[0] ** 3)

        return jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 2))(x)

    np.testing.assert_allclose(bend(BatchNorm), bend(nn.BatchNorm), rtol=1e-3, atol=1e-3)


@OUR_FORMS
def test_the_backward_pass_keeps_the_input_in_its_own_dtype():
    x = jax.ShapeDtypeStruct((4, 8, 8, 6), jnp.bfloat16)
    module = BatchNorm(use_running_average=False, dtype=jnp.bfloat16)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)

    def kept(variables, x):
        def normalise(x):
            return module.apply(variables, x, mutable=["batch_stats"])[0]

        return jax.vjp(normalise, x)[1]

    large = [leaf for leaf in jax.tree.leaves(jax.eval_shape(kept, variables, x)) if leaf.ndim == 4]
    assert [leaf.dtype for leaf in large if leaf.size > 6] == [jnp.bfloat16]


@pytest.mark.parametrize(
    "fields", [{"use_scale": False}, {"use_bias": False}, {"axis": 1}, {"use_fast_variance": False}]
)
def test_what_is_rare_is_left_to_flax(fields):
    x = jax.random.normal(jax.random.key(0), (4, 6, 5, 3))
    mask = jnp.arange(4).reshape(4, 1, 1, 1) < 2
    for given in ({}, {"mask": mask}):
        found = [
            norm(use_running_average=False, **fields).init_with_output(
                jax.random.key(1), x, **given
            )
            for norm in (BatchNorm, nn.BatchNorm)
        ]
        chex.assert_trees_all_equal(*found)


def test_evaluation_is_flax_s_and_calls_are_not_doubled():
    x = jax.random.normal(jax.random.key(0), (4, 6, 5, 3), jnp.bfloat16)
    found = []
    for norm in (BatchNorm, nn.BatchNorm):
        module = norm(use_running_average=True, dtype=jnp.bfloat16)
        variables = module.init(jax.random.key(1), x)
        variables = jax.tree.map(lambda leaf: leaf + 0.3, variables)
        y, state = module.apply(variables, x, capture_intermediates=True)
        assert len(state["intermediates"]["__call__"]) == 1
        found.append((variables, y))
    chex.assert_trees_all_equal(*found)
