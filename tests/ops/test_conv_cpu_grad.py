"""Every form of the two gradients of an ordinary convolution, whatever its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxcnn.ops import conv_cpu_grad
from jaxcnn.ops.windows import Window
from tests.marks import exhaustive

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float64": 1e-12}
few, small = st.integers(1, 3), st.integers(1, 11)
pair = st.tuples(few, few)
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
windows = st.builds(
    Window,
    st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 5), (4, 3)]),
    strides=pair,
    pads=st.tuples(pads, pads),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]),
)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", *map(exhaustive, ("float64", "bfloat16"))])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(window=windows, size=st.tuples(few, small, small), depth=st.sampled_from([1, 5, 33]))
def test_gradients_are_those_of_lax(dtype, window, size, depth):
    generator = np.random.default_rng(0)
    shapes = (*size, depth), (*window.shape, depth, 4)
    outputs = (size[0], *window.outputs(shapes[0]), 4)
    assume(min(outputs) > 0)
    with jax.enable_x64(True):
        image, kernel, output = (
            jnp.asarray(generator.normal(size=shape), dtype) for shape in (*shapes, outputs)
        )

        def convolve(image, kernel):
            return jax.lax.conv_general_dilated(
                image,
                kernel,
                window.strides,
                window.pads,
                rhs_dilation=window.dilation,
                dimension_numbers=conv_cpu_grad.LAYOUT,
            )

        wide = [x.astype(jnp.float64) for x in (image, kernel, output)]
        of_image, of_kernel = jax.vjp(convolve, *wide[:2])[1](wide[2])
        found = [
            (conv_cpu_grad._of_image(image, kernel, output, window), of_image),
            (conv_cpu_grad._of_spread_images(image, output, window), of_kernel),
            (conv_cpu_grad._by_products(image, output, window), of_kernel),
        ]
        if window.dilation == window.strides == (1, 1):
            found.append((conv_cpu_grad._by_rows(image, kernel, output, window), of_image))
        if window.dilation == (1, 1):
            for form in (conv_cpu_grad._by_phases, conv_cpu_grad._phases_at_once):
                found.append((form(image, kernel, output, window), of_image))
    for got, wanted in found:
        assert got.dtype == jnp.dtype(dtype)
        error = np.abs(np.float64(got) - np.float64(wanted)).max()
        assert error <= TOLERANCE[dtype] * np.abs(wanted).max()
