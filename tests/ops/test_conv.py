"""The boundary is jax.lax's convolution, and visible in a traced program."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.ops.conv import conv_general_dilated


def test_signature_is_that_of_lax():
    def calls(function):
        return [
            (p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()
        ]

    assert calls(conv_general_dilated) == calls(jax.lax.conv_general_dilated)


LHS = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype(jnp.bfloat16)
RHS = np.random.default_rng(1).normal(size=(3, 2, 2, 6)).astype(jnp.bfloat16)
# As lists, too, which Flax hands over.
ARGUMENTS = {
    "window_strides": [2, 1],
    "padding": [(1, 0), [2, 1]],
    "lhs_dilation": [1, 2],
    "rhs_dilation": (2, 1),
    "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
    "feature_group_count": 2,
    "precision": jax.lax.Precision.HIGHEST,
    "preferred_element_type": jnp.float32,
}


def equations(function, *args):
    return jax.make_jaxpr(function)(*args).jaxpr.eqns


def test_every_argument_is_passed_on():
    (plain,) = equations(lambda x, w: jax.lax.conv_general_dilated(x, w, **ARGUMENTS), LHS, RHS)
    (outer,) = equations(lambda x, w: conv_general_dilated(x, w, **ARGUMENTS), LHS, RHS)
    (inner,) = outer.params["jaxpr"].eqns
    assert inner.params == plain.params
    np.testing.assert_array_equal(
        conv_general_dilated(LHS, RHS, **ARGUMENTS),
        jax.lax.conv_general_dilated(LHS, RHS, **ARGUMENTS),
    )


def test_groups_of_the_batch_are_passed_on():
    (outer,) = equations(
        lambda x, w: conv_general_dilated(x, w, (1, 1), "VALID", batch_group_count=2),
        jnp.ones((2, 4, 5, 5)),
        jnp.ones((6, 4, 3, 3)),
    )
    assert outer.params["jaxpr"].eqns[0].params["batch_group_count"] == 2


def test_a_traced_program_shows_it_by_name():
    (outer,) = equations(
        lambda x, w: conv_general_dilated(x, w, (1, 1), "SAME"),
        jnp.ones((2, 4, 5, 5)),
        jnp.ones((6, 4, 3, 3)),
    )
    assert outer.params["name"] == "conv_general_dilated"
