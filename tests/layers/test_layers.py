import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.layers import Conv, ConvNormAct, classifier, global_average_pool, symmetric_padding
from jaxcnn.ops.conv import conv_general_dilated


def test_conv_boundary_has_the_signature_of_lax():
    def calls(function):
        return [
            (p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()
        ]

    assert calls(conv_general_dilated) == calls(jax.lax.conv_general_dilated)


def test_conv_boundary_passes_every_argument_on():
    lhs = jax.random.normal(jax.random.key(0), (2, 9, 8, 4), jnp.bfloat16)
    rhs = jax.random.normal(jax.random.key(1), (3, 2, 2, 6), jnp.bfloat16)
    arguments = {
        "window_strides": (2, 1),
        "padding": ((1, 0), (2, 1)),
        "lhs_dilation": (1, 2),
        "rhs_dilation": (2, 1),
        "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
        "feature_group_count": 2,
        "precision": jax.lax.Precision.HIGHEST,
        "preferred_element_type": jnp.float32,
    }
    expected = jax.make_jaxpr(lambda x, w: jax.lax.conv_general_dilated(x, w, **arguments))
    got = jax.make_jaxpr(lambda x, w: conv_general_dilated(x, w, **arguments))
    assert str(got(lhs, rhs)) == str(expected(lhs, rhs))
    grouped = jax.make_jaxpr(
        lambda x, w: conv_general_dilated(x, w, (1, 1), "VALID", batch_group_count=2)
    )(jnp.ones((2, 4, 5, 5)), jnp.ones((6, 4, 3, 3)))
    assert "batch_group_count=2" in str(grouped)


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
