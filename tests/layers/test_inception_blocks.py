from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.layers import Conv
from jaxcnn.layers.inception_blocks import AVERAGE, MAX, Branches, Chain, Layer, fork

PARTS = {"conv": partial(Conv, use_bias=False), "norm": None, "act": nn.relu}


def test_chain_numbers_what_has_parameters():
    steps = (Layer(2, 3), MAX, Layer(3, (1, 5)), fork([Layer(1)], [AVERAGE]), MAX, Layer(5, 3, 2))
    x = jnp.ones((1, 20, 20, 4))
    params = jax.eval_shape(Chain(steps, **PARTS).init, jax.random.key(0), x)["params"]
    assert set(params) == {"conv1", "conv2", "fork3", "conv4"}
    assert set(params["fork3"]) == {"branch1"}
    shapes = [params[f"conv{i}"]["conv"]["kernel"].shape for i in (1, 2, 4)]
    assert shapes == [(3, 3, 4, 2), (1, 5, 2, 3), (3, 3, 4, 5)]


@pytest.mark.slow
def test_branches_are_joined_in_the_order_of_the_table():
    net = Branches(fork([Layer(2), Layer(3, (3, 1))], [AVERAGE], [Layer(1, 3, padding=1)]), **PARTS)
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    got, variables = net.init_with_output(jax.random.key(0), x)
    params = variables["params"]

    def conv(branch, number, x):
        kernel = params[f"branch{branch}"][f"conv{number}"]["conv"]["kernel"]
        *size, _, features = kernel.shape
        layer = nn.Conv(features, size, use_bias=False, padding="SAME")
        return nn.relu(layer.apply({"params": {"kernel": kernel}}, x))

    expected = [conv(1, 2, conv(1, 1, x)), AVERAGE(x), conv(3, 1, x)]
    np.testing.assert_allclose(got, np.concatenate(expected, axis=-1), rtol=1e-5, atol=1e-5)


def test_padding_of_a_layer():
    x = jnp.ones((1, 8, 8, 1))
    for padding, size in ((None, 4), (0, 3), ("SAME", 4)):
        chain = Chain((Layer(1, 3, 2, padding),), **PARTS)
        y, _ = jax.eval_shape(chain.init_with_output, jax.random.key(0), x)
        assert y.shape == (1, size, size, 1)


def test_pools_of_most_modules():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(MAX(x), [[[[10.0]]]])
    np.testing.assert_allclose(AVERAGE(x)[0, 0, :2, 0], [(0 + 1 + 4 + 5) / 4, (0 + 1 + 2 + 15) / 6])
