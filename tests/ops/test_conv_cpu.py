"""The formulas of the CPU are the convolution: values and gradients, whatever the shape."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxcnn.ops import conv_cpu
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.windows import Window
from tests.marks import exhaustive, slow
from tests.ops.switched import OUR_FORMS

pytestmark = OUR_FORMS

LAYOUT = ("NHWC", "HWIO", "NHWC")
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float64": 1e-12}
small = st.integers(1, 3)


@st.composite
def convolutions(draw):
    """Shapes of an image and a kernel, and how it moves."""
    groups = draw(st.sampled_from([1, 2, 3, 8, 32]))
    depth, factor = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1), (4, 4)]))
    size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    kernel = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 3), (3, 1), (5, 4)]))
    pads = ((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    padding = draw(st.sampled_from(["SAME", "VALID", tuple(pads), ((0, 0), (0, 0))]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]))
    return {
        "image": (draw(small), *size, groups * depth),
        "kernel": (*kernel, depth, groups * factor),
        "window_strides": (draw(small), draw(small)),
        "padding": padding,
        "rhs_dilation": dilation,
        "dimension_numbers": LAYOUT,
        "feature_group_count": groups,
    }


def outcomes(convolve, image, kernel, seed):
    """Output, and the gradients of image and kernel for a random one of the output."""

    @jax.jit
    def run(image, kernel):
        output, pull = jax.vjp(convolve, image, kernel)
        weights = np.random.default_rng(seed).normal(size=output.shape)
        return output, *pull(jnp.asarray(weights, output.dtype))

    return run(image, kernel)


def relative_error(got, wanted):
    got, wanted = (np.asarray(x, np.float64) for x in (got, wanted))
    return np.abs(got - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30)


def compare(dtype, image, kernel, seed, **arguments):
    generator = np.random.default_rng(seed)
    with jax.enable_x64(True):
        exact = [jnp.asarray(generator.normal(size=shape), dtype) for shape in (image, kernel)]
        ours = outcomes(partial(conv_general_dilated, **arguments), *exact, seed)
        wide = [x.astype(jnp.float64) for x in exact]
        theirs = outcomes(partial(jax.lax.conv_general_dilated, **arguments), *wide, seed)
    assert [x.dtype for x in ours] == [jnp.dtype(dtype)] * 3
    for got, wanted in zip(ours, theirs, strict=True):
        assert relative_error(got, wanted) <= TOLERANCE[dtype]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", *map(exhaustive, ("float64", "bfloat16"))])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(shape=convolutions(), seed=st.integers(0, 9))
def test_value_and_gradients_are_those_of_lax(dtype, shape, seed):
    try:
        arguments = {name: x for name, x in shape.items() if name not in ("image", "kernel")}
        output = jax.eval_shape(
            partial(jax.lax.conv_general_dilated, **arguments),
            *(jax.ShapeDtypeStruct(shape[name], dtype) for name in ("image", "kernel")),
        )
    except (TypeError, ValueError):
        assume(False)
    assume(output.size)
    compare(dtype, seed=seed, **shape)


@pytest.mark.parametrize(
    "shape", [(2, 1, 1, 4), (2, 2, 2, 4), (2, 31, 31, 40), (18, 31, 31, 16), (4, 40, 40, 64)]
)
def test_depthwise_of_few_and_of_many_pixels(shape):
    compare(
        "float32",
        image=shape,
        kernel=(3, 3, 1, shape[-1]),
        seed=0,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=LAYOUT,
        feature_group_count=shape[-1],
    )


@pytest.mark.parametrize(
    ("image", "kernel", "pads", "dtype"),
    [
        ((3, 9, 8, 1), (5, 3, 1, 6), (1, 2), "float32"),
        ((3, 9, 8, 1), (5, 3, 1, 6), (1, 2), "bfloat16"),
        slow((3, 9, 8, 1), (5, 3, 1, 17), (0, 0), "float32"),
        ((3, 5, 4, 6), (5, 4, 6, 7), (0, 0), "float64"),
        ((3, 5, 4, 6), (5, 4, 6, 7), (0, 0), "bfloat16"),
        slow((3, 5, 4, 6), (5, 4, 6, 7), (1, 0), "float32"),
    ],
)
def test_grey_images_and_kernels_as_large_as_the_image(image, kernel, pads, dtype):
    compare(
        dtype,
        image=image,
        kernel=kernel,
        seed=0,
        window_strides=(1, 1),
        padding=(pads, pads[::-1]),
        dimension_numbers=LAYOUT,
    )


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1), (1, 4)])
@pytest.mark.parametrize("dilation", [(1, 1), slow((2, 3))])
def test_depthwise_windows_of_any_stride(strides, dilation):
    """Also with phases that no tap reaches."""
    compare(
        "float32",
        image=(2, 9, 12, 5),
        kernel=(3, 2, 1, 5),
        seed=0,
        window_strides=strides,
        padding=((2, 1), (0, 2)),
        rhs_dilation=dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=5,
    )


@pytest.mark.parametrize(
    ("size", "strides", "dtype"),
    [
        (1, 1, "float32"),
        (2, 1, "float64"),
        (7, 1, "float64"),
        (7, 2, "bfloat16"),
        (8, 1, "float32"),
        (58, 1, "float64"),
    ],
)
def test_wide_convolutions_of_small_maps(size, strides, dtype):
    compare(
        dtype,
        image=(2, size, size, 64),
        kernel=(3, 3, 64, 72),
        seed=0,
        window_strides=(strides, strides),
        padding=((1, 1), (1, 1)),
        dimension_numbers=LAYOUT,
    )


@pytest.mark.parametrize(
    ("size", "taps", "stride", "pads", "reaching"),
    [
        ((1, 1), (3, 3), 1, (1, 1), (1, 1)),
        ((2, 1), (5, 5), 1, (2, 2), (3, 1)),
        ((2, 2), (5, 3), 2, (0, 3), (2, 2)),
        ((3, 4), (3, 5), 1, (1, 2), (3, 5)),
        ((1, 9), (3, 7), 3, (2, 0), (1, 7)),
    ],
)
def test_taps_that_reach_no_pixel_are_left_out(size, taps, stride, pads, reaching):
    image, kernel = (2, *size, 3), (*taps, 3, 4)
    window = Window(taps, (stride, stride), (pads, pads))
    kept, fewer = conv_cpu._without_idle_taps(jnp.ones(image), jnp.ones(kernel), window)
    assert kept.shape == (*reaching, 3, 4)
    assert fewer.outputs(image) == window.outputs(image)
    movement = {"window_strides": window.strides, "padding": window.pads}
    compare("float32", image, kernel, 0, **movement, dimension_numbers=LAYOUT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "groups"),
    [
        ((1, 1, 8, 6), 1),
        exhaustive((3, 3, 8, 4), 1),
        slow((3, 3, 1, 8), 8),
        exhaustive((3, 3, 2, 12), 4),
    ],
)
def test_formulas_compose(kernel, groups):
    arguments = (1, 1), "SAME" if kernel[0] > 1 else "VALID"
    rest = {"dimension_numbers": LAYOUT, "feature_group_count": groups}
    generator = np.random.default_rng(0)
    images = jnp.asarray(generator.normal(size=(4, 2, 5, 6, 8)), jnp.float32)
    kernels = jnp.asarray(generator.normal(size=(4, *kernel)), jnp.float32)

    def outcomes_of(convolve):
        def cost(image, kernel):
            return jnp.sum(jnp.sin(convolve(image, kernel, *arguments, **rest)))

        slope = jax.grad(jax.checkpoint(cost), argnums=(0, 1))

        def curvature(image, kernel):
            return jax.grad(lambda *x: sum(jnp.sum(g**2) for g in slope(*x)), (0, 1))(image, kernel)

        one = images[0], kernels[0]
        return curvature(*one), jax.vmap(slope)(images, kernels), jax.pmap(slope)(images, kernels)

    ours, theirs = map(outcomes_of, (conv_general_dilated, jax.lax.conv_general_dilated))
    for got, wanted in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        assert relative_error(got, wanted) < 1e-5


def test_there_is_no_forward_mode():
    primals = jnp.ones((1, 5, 5, 8)), jnp.ones((3, 3, 8, 8))
    convolve = partial(
        conv_general_dilated, window_strides=(1, 1), padding="VALID", dimension_numbers=LAYOUT
    )
    with pytest.raises(TypeError, match="forward"):
        jax.jvp(convolve, primals, primals)


@pytest.mark.parametrize("groups", [1, 4])
def test_the_cpu_sees_plain_convolutions_in_loops_too(groups):
    def cost(image, kernel):
        output = conv_general_dilated(
            image, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
        )
        return jnp.sum(output**2)

    def mean_gradient(images, kernel):
        return jax.lax.map(lambda image: jax.grad(cost, (0, 1))(image, kernel), images)

    shapes = (2, 2, 48, 48, 8), (3, 3, 8 // groups, 8)
    program = jax.jit(mean_gradient).lower(*map(jnp.ones, shapes)).as_text()
    layouts = set(re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", program))
    assert {layout.replace(" ", "") for layout in layouts} == {"[b,0,1,f]x[0,1,i,o]->[b,0,1,f]"}
    assert set(re.findall(r"(?:feature|batch)_group_count = (\d+)", program)) == {"1"}
