import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxcnn.analysis import count_macs
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv, head, symmetric_padding
from jaxcnn.layers.conv import MODES, ConvTranspose, mode_padding

NUMPY = {"full": lambda n, k: n + k - 1, "same": lambda n, k: n, "valid": lambda n, k: n - k + 1}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 5), (4, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (3, 1)])
def test_sizes_of_a_mode(mode, kernel_size, dilation):
    padding = mode_padding(mode, kernel_size, dilation)
    layer = Conv(1, kernel_size, padding=padding, kernel_dilation=dilation)
    y, _ = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((1, 11, 12, 1)))
    apart = (dilation, dilation) if isinstance(dilation, int) else dilation
    reach = [d * (k - 1) + 1 for k, d in zip(kernel_size, apart, strict=True)]
    assert y.shape[1:3] == tuple(NUMPY[mode](n, k) for n, k in zip((11, 12), reach, strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [3, 4])
def test_values_of_a_mode(mode, size):
    rng = np.random.default_rng(0)
    row, kernel = rng.normal(size=9), rng.normal(size=size)
    layer = Conv(1, (1, size), padding=mode_padding(mode, (1, size)), use_bias=False)
    variables = {"params": {"kernel": jnp.asarray(kernel, jnp.float32).reshape(1, size, 1, 1)}}
    found = layer.apply(variables, jnp.asarray(row, jnp.float32).reshape(1, 1, 9, 1))
    full = np.correlate(row, kernel, "full")
    cut = {"full": 0, "same": size - 1 - (size - 1) // 2, "valid": size - 1}[mode]
    expected = full[cut:][: found.shape[2]]
    np.testing.assert_allclose(found[0, 0, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_same_is_symmetric_where_that_is_possible():
    assert mode_padding("same", (3, 5), (1, 2)) == symmetric_padding((3, 5), (1, 2))
    assert mode_padding("same", (2, 4)) == ((0, 1), (1, 2))
    with pytest.raises(UserError, match="no mode of convolution 'fulll': did you mean full"):
        mode_padding("fulll", (3, 3))


# The transpose ----------------------------------------------------------------------------------


def transposed(x, kernel, **fields):
    kernel = jnp.asarray(kernel, jnp.float32)[:, :, None, None]
    layer = ConvTranspose(1, kernel.shape[:2], use_bias=False, **fields)
    x = jnp.asarray(x, jnp.float32)[None, :, :, None]
    return layer.apply({"params": {"kernel": kernel}}, x)[0, :, :, 0]


def test_values_are_those_of_torch():
    x, kernel = [[1, 2], [3, -1]], [[1, 2, 0], [0, 1, -1], [3, 0, 1]]
    np.testing.assert_array_equal(  # output_padding=1
        transposed(x, kernel, strides=2, padding=((1, 0), (1, 0))),
        [[1, -1, 2, -2], [6, 6, -2, 2], [3, -3, -1, 1], [0, 0, 0, -1]],
    )
    np.testing.assert_array_equal(
        transposed(x, kernel, padding=1, kernel_dilation=2),
        [[-1, 6, -2, 0], [0, 1, 2, -1], [0, 3, -1, -3], [6, 0, 0, 1]],
    )


@pytest.mark.slow
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 4),
)
@settings(max_examples=15, deadline=None, derandomize=True)  # XLA may end the process on others
def test_it_is_the_transpose_of_a_convolution(k, other, s, p, d, n):
    """<conv x, y> = <x, transpose y>, on what the size formula says."""
    size = [(n - 1) * s + d * (k - 1) + 1 - 2 * p, (n + 1) * s + d * (other - 1) + 1 - 2 * p]
    assume(min(size) >= 1)
    # Here jax 0.10.1 ends the process: "Window dimensions do not match RHS shape".
    assume(not (k > 2 and (other, s, p, d, n) == (2, 2, 1, 1, 1)))
    fields = {"strides": s, "padding": p, "kernel_dilation": d, "use_bias": False}
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(2, *size, 3)))
        y = jnp.asarray(rng.normal(size=(2, n, n + 2, 5)))
        kernel = jnp.asarray(rng.normal(size=(k, other, 3, 5)))
        forth = Conv(5, (k, other), **fields).apply({"params": {"kernel": kernel}}, x)
        kernel = kernel.transpose(0, 1, 3, 2)
        back = ConvTranspose(3, (k, other), **fields).apply({"params": {"kernel": kernel}}, y)
        assert (forth.shape, back.shape) == (y.shape, x.shape)
        assert back.dtype == jnp.float64
        np.testing.assert_allclose(jnp.vdot(forth, y), jnp.vdot(x, back), rtol=1e-9, atol=1e-9)


def test_bias_and_types():
    layer = ConvTranspose(4, (3, 3), strides=2, dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), jnp.zeros((1, 2, 2, 3)))
    assert (y.shape, y.dtype) == ((1, 5, 5, 4), jnp.bfloat16)
    assert variables["params"]["kernel"].shape == (3, 3, 3, 4)
    assert variables["params"]["kernel"].dtype == jnp.float32
    shifted = {"params": {**variables["params"], "bias": jnp.arange(4.0)}}
    np.testing.assert_array_equal(layer.apply(shifted, jnp.zeros((1, 2, 2, 3)))[0, 1, 1], range(4))


@pytest.mark.parametrize("strides", [1, 2])
def test_it_multiplies_as_often_as_the_convolution(strides):
    there = count_macs(Conv(5, (3, 3), strides=strides, padding=1), (9, 9, 3))
    size = 9 if strides == 1 else 5
    back = count_macs(ConvTranspose(3, (3, 3), strides=strides, padding=1), (size, size, 5))
    assert there == back == size**2 * 9 * 3 * 5


def test_examples_in_the_docstrings_of_heads():
    done = doctest.testmod(head)
    assert done.attempted == 5
    assert not done.failed
