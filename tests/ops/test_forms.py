"""What jax.lax and Flax take is taken, and what they refuse is refused in their words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.pool import avg_pool, max_pool

LAYOUT = ("NHWC", "HWIO", "NHWC")
X, W = jnp.ones((1, 5, 6, 4)), jnp.ones((3, 3, 4, 2))


def answer(function, *args, **kwargs):
    """Returns shape and dtype of a result, or type and message of the error."""
    try:
        result = jax.eval_shape(lambda: function(*args, **kwargs))
    except Exception as error:
        return type(error), str(error).split("\n-----")[0].translate(str.maketrans("[]", "()"))
    return result.shape, result.dtype


@pytest.mark.parametrize(
    "changed",
    [
        {"padding": ([1, 1], [1, 1])},
        {"padding": [[1, 1], (0, 2)]},
        {"padding": [(np.int64(1), np.int32(0)), (1, 1)]},
        {"padding": np.ones((2, 2), int)},
        {"padding": "same"},
        {"padding": "Same_Lower"},
        {"padding": "VALID"},
        {"padding": [(-1, 0), (0, -1)]},
        {"window_strides": [2, np.int64(1)]},
        {"window_strides": np.array([2, 1])},
        {"rhs_dilation": [1, 2]},
        {"lhs_dilation": np.array([2, 1]), "padding": [[1, 1], [1, 1]]},
        {"rhs_dilation": None},
        {"dimension_numbers": list(LAYOUT)},
        {"dimension_numbers": lax.conv_dimension_numbers(X.shape, W.shape, LAYOUT)},
        {"dimension_numbers": None},
        {"precision": ["high", "highest"]},
        {"precision": "highest"},
        {"preferred_element_type": jnp.bfloat16},
        {"preferred_element_type": np.dtype("float32")},
        {"feature_group_count": 2},
        {"feature_group_count": np.int64(1)},
        # Refused.
        {"padding": "full"},
        {"padding": None},
        {"padding": 1},
        {"padding": (1, 1)},
        {"padding": [(1, 1)]},
        {"padding": [(1, 1), (1, 1), (1, 1)]},
        {"padding": [(1,), (1, 1)]},
        {"padding": [(0.5, 1), (1, 1)]},
        {"window_strides": None},
        {"window_strides": 1},
        {"window_strides": (1,)},
        {"window_strides": (-1, 1)},
        {"rhs_dilation": (0, 1)},
        {"rhs_dilation": (1,)},
        {"feature_group_count": 0},
        {"feature_group_count": 3},
        {"batch_group_count": 2},
        {"dimension_numbers": ("NHWC", "HWIO")},
    ],
    ids=str,
)
def test_a_convolution_answers_as_lax(changed):
    arguments = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": LAYOUT}
    arguments |= changed
    expected = answer(lax.conv_general_dilated, X, W, **arguments)
    found = answer(conv_general_dilated, X, W, **arguments)
    assert found == expected


@pytest.mark.parametrize("other", [jnp.ones((3, 3, 4, 2), jnp.bfloat16), jnp.ones((3, 4, 2))])
def test_operands_that_do_not_fit_are_answered_as_by_lax(other):
    arguments = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": LAYOUT}
    expected = answer(lax.conv_general_dilated, X, other, **arguments)
    assert answer(conv_general_dilated, X, other, **arguments) == expected


@pytest.mark.parametrize(
    ("x", "arguments"),
    [
        (X, ((2, 2),)),
        (X, ((2, 2), None, "SAME")),
        (X, ((3, 3), (2, 2), "same")),
        (X, ((3, 3), (2, 2), "SAME_LOWER")),
        (X, ((3, 3), (1, 1), [[1, 1], [0, 2]])),
        (X, ((3, 3), (1, 1), ((1, 0), (np.int64(1), 1)))),
        (X, ((3, 3), (1, 1), ((-1, 0), (0, 0)))),
        (X, ((9, 9), (1, 1))),
        (X[0], ((2, 2), (2, 2))),
        (X[0, 0], ((2,), (2,))),
        (X.astype(int), ((2, 2), (2, 2))),
        (X.astype(int), ((2, 2), (1, 1))),
        # Refused.
        (X, ((2, 2), (1,))),
        (X, ((2, 2), (0, 1))),
        (X, ((2, 2), (1, 1), "full")),
        (X, ((2, 2), (1, 1), ((1, 1),))),
        (X, ((2, 2), (1, 1), ((1,), (1, 1)))),
        (X, ((0, 2), (1, 1))),
    ],
    ids=str,
)
@pytest.mark.parametrize(("ours", "theirs"), [(max_pool, nn.max_pool), (avg_pool, nn.avg_pool)])
def test_a_pool_answers_as_flax(ours, theirs, x, arguments):
    assert answer(ours, x, *arguments) == answer(theirs, x, *arguments)


def test_padding_by_axis_counts_in_values():
    x = jnp.arange(30.0).reshape(1, 5, 6, 1)
    pads = [[1, 0], [0, 2]]
    for ours, theirs in ((max_pool, nn.max_pool), (avg_pool, nn.avg_pool)):
        np.testing.assert_allclose(ours(x, [2, 3], None, pads), theirs(x, (2, 3), None, pads))


@pytest.mark.parametrize("first", [np.inf, -np.inf])
def test_an_infinite_number_makes_no_nan(first):
    """Under `debug_nans` the operation that is blamed must be the one that made it."""
    x = jnp.zeros((2, 3)).at[0, 0].set(first)
    with jax.debug_nans(True):
        np.testing.assert_array_equal(materialize_on_cpu(x), x)
        with jax.disable_jit():
            np.testing.assert_array_equal(materialize_on_cpu(x), x)


def test_an_infinite_weight_stays_in_its_group():
    kernel = jnp.ones((1, 1, 2, 4)).at[0, 0, 0, 0].set(jnp.inf)
    arguments = {"dimension_numbers": LAYOUT, "feature_group_count": 2}
    found = jax.jit(lambda k: conv_general_dilated(X, k, (1, 1), "VALID", **arguments))(kernel)
    assert np.isinf(found[..., 0]).all()
    np.testing.assert_array_equal(found[..., 1:], 2)
