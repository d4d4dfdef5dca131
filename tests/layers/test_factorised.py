"""Factorised convolutions: shapes, counts, and the map that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.factorised import Factorised, convolution

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 15, 15, 3)), jnp.float32)


def kernels(variables):
    return [leaf.shape for leaf in jax.tree.leaves(variables) if leaf.ndim == 4]


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("padding", [0, "half"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("name", ["stacked_3x3", "asymmetric"])
def test_maps_are_those_of_the_whole_convolution_in_size(name, size, padding, strides):
    pads = 0 if padding == 0 else ((size // 2,) * 2,) * 2
    shapes = [
        jax.eval_shape(
            constructor(8, (size, size), strides=strides, padding=pads).init_with_output,
            jax.random.key(0),
            IMAGES,
        )[0].shape
        for constructor in (Conv, convolution(name))
    ]
    assert shapes[0] == shapes[1]


def test_factors_are_those_of_the_paper():
    """18/25 of 5x5's weights in two 3x3, 27/49 of 7x7's in three, 2/n with 1xn and nx1."""
    images = jnp.zeros((1, 9, 9, 4))

    def weights(constructor, size):
        layer = constructor(4, (size, size), use_bias=False)
        variables = jax.eval_shape(layer.init, jax.random.key(0), images)
        return sum(int(np.prod(shape)) for shape in kernels(variables))

    stacked, asymmetric = convolution("stacked_3x3"), convolution("asymmetric")
    assert weights(stacked, 5) * 25 == weights(Conv, 5) * 18
    assert weights(stacked, 7) * 49 == weights(Conv, 7) * 27
    assert weights(stacked, 3) == weights(Conv, 3)
    assert weights(asymmetric, 7) * 7 == weights(Conv, 7) * 2
    assert weights(asymmetric, 1) == weights(Conv, 1)


def test_without_activation_the_factors_are_one_larger_convolution():
    """The impulse responses of two 3x3, convolved, are the 5x5 that they are together."""
    module = Factorised(1, (5, 5), use_bias=False, act=lambda x: x)
    impulse = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1)
    response, variables = module.init_with_output(jax.random.key(0), impulse)
    first, second = (np.asarray(k)[::-1, ::-1, 0, 0] for k in jax.tree.leaves(variables["params"]))
    expected = np.zeros((5, 5))
    for i in range(3):
        for j in range(3):
            expected[i : i + 3, j : j + 3] += first[i, j] * second
    np.testing.assert_allclose(response[0, :, :, 0], expected, atol=1e-6)


def test_a_network_takes_it_and_even_kernels_are_refused():
    model = create_model("nin_mnist", conv=convolution("stacked_3x3"))
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert kernels(variables["params"]["stage1"])[:2] == [(3, 3, 1, 96), (3, 3, 96, 96)]
    grouped = create_model("alexnet", conv=convolution("stacked_3x3"), hidden_features=())
    variables = jax.eval_shape(grouped.init, jax.random.key(0), jnp.zeros((1, 227, 227, 3)))
    assert kernels(variables["params"]["stage2"]) == [(3, 3, 48, 256), (3, 3, 128, 256)]
    with pytest.raises(UserError, match="odd"):
        Factorised(8, (4, 4)).init(jax.random.key(0), IMAGES)
    with pytest.raises(UserError, match="stacked_3x3"):
        convolution("stacked")
