import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.layers import Conv, ConvNormAct, classifier, global_average_pool, symmetric_padding


@pytest.mark.parametrize(
    ("kernel_size", "dilation", "expected"),
    [
        ((1, 1), 1, ((0, 0), (0, 0))),
        ((3, 3), 1, ((1, 1), (1, 1))),
        ((1, 7), 1, ((0, 0), (3, 3))),
        ((3, 5), 2, ((2, 2), (4, 4))),
        ((3, 5), (1, 2), ((1, 1), (4, 4))),
    ],
)
def test_symmetric_padding(kernel_size, dilation, expected):
    assert symmetric_padding(kernel_size, dilation) == expected


def test_symmetric_padding_refuses_even_kernels():
    with pytest.raises(ValueError, match="kernel"):
        symmetric_padding((3, 2))


def test_conv_norm_act_pads_strided_convolutions_on_both_sides():
    """SAME would pad (0, 1) here and give sums 9, 6 instead of 4, 6."""
    layer = ConvNormAct(
        1,
        (3, 3),
        strides=2,
        conv=lambda *a, **k: Conv(*a, **k, use_bias=False, kernel_init=nn.initializers.ones),
        norm=None,
        act=None,
    )
    sums, _ = layer.init_with_output(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
    np.testing.assert_array_equal(sums[0, :, :, 0], [[4, 6], [6, 9]])


def test_conv_norm_act_applies_all_three_in_order():
    layer = ConvNormAct(
        5,
        (3, 1),
        conv=Conv,
        norm=lambda name: nn.LayerNorm(name=name),
        act=jnp.abs,
        padding="VALID",
    )
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 3))
    y, variables = layer.init_with_output(jax.random.key(1), x)
    assert y.shape == (2, 4, 7, 5)
    params = variables["params"]
    z = nn.Conv(5, (3, 1), padding="VALID").apply({"params": params["conv"]}, x)
    z = jnp.abs(nn.LayerNorm().apply({"params": params["norm"]}, z))
    np.testing.assert_allclose(y, z, atol=1e-6)


def test_global_average_pool_accumulates_bfloat16_in_float32():
    x = jnp.full((1, 64, 64, 1), 1.0, jnp.bfloat16).at[0, 0, 0, 0].set(2.0)
    pooled = global_average_pool(x)
    assert pooled.dtype == jnp.float32
    np.testing.assert_allclose(pooled, [[1 + 1 / 4096]], rtol=1e-7)


def test_classifier_starts_as_torch_with_zero_bias():
    params = classifier(1000, jnp.bfloat16, jnp.float32).init(
        jax.random.key(0), jnp.ones((1, 400), jnp.bfloat16)
    )["params"]
    assert not params["bias"].any()
    assert 0.99 / 20 < jnp.abs(params["kernel"]).max() <= 1 / 20
    assert params["kernel"].dtype == jnp.float32
