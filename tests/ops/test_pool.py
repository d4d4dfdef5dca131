"""Pooling against windows cut out by hand, in every combination of padding, stride and mode."""

import itertools
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.extend.core import jaxprs_in_params

from jaxcnn.ops.pool import (
    _by_library,
    _shifted,
    _to_winners_on_gpu,
    adaptive_avg_pool,
    avg_pool,
    max_pool,
    winners,
)
from jaxcnn.ops.pool import _max_pool as max_of
from jaxcnn.ops.windows import Window
from tests import runs
from tests.marks import exhaustive, slow
from tests.ops.switched import OUR_FORMS

IMAGES = np.random.default_rng(0).normal(size=(2, 13, 16, 3)).astype(np.float32)


def starts(length, k, s, p, ceil_mode):
    """Where windows start, as torch and Caffe place them."""
    rounded = np.ceil if ceil_mode else np.floor
    count = int(rounded((length + 2 * p - k) / s)) + 1
    return [i * s - p for i in range(count) if i * s - p < length or not ceil_mode]


def windows(k, s, p, ceil_mode):
    """For each output: the pixels of the image, and the window's size within the padded image."""
    rows, columns = (starts(n, k, s, p, ceil_mode) for n in IMAGES.shape[1:3])
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        (top, bottom), (left, right) = (
            (at, min(at + k, n + p))
            for at, n in zip((rows[i], columns[j]), IMAGES.shape[1:3], strict=True)
        )
        pixels = IMAGES[:, max(top, 0) : min(bottom, 13), max(left, 0) : min(right, 16)]
        yield i, j, pixels, (bottom - top) * (right - left)


CASES = [
    ((k, s, p, ceil_mode) if (k + s + p + ceil_mode) % 3 == 0 else exhaustive(k, s, p, ceil_mode))
    for k, s, p, ceil_mode in itertools.product((2, 3, 5), (1, 2, 3), (0, 1), (False, True))
]


@pytest.mark.parametrize(("k", "s", "p", "ceil_mode"), CASES)
def test_pools_see_the_pixels_of_their_windows(k, s, p, ceil_mode):
    arguments = ((k, k), (s, s), p, ceil_mode)
    largest = np.asarray(max_pool(IMAGES, *arguments))
    full, inside = (
        np.asarray(avg_pool(IMAGES, *arguments, count_include_pad=c)) for c in (True, False)
    )
    last = (0, 0)
    for i, j, pixels, size in windows(k, s, p, ceil_mode):
        np.testing.assert_array_equal(largest[:, i, j], pixels.max((1, 2)))
        np.testing.assert_allclose(full[:, i, j], pixels.sum((1, 2)) / size, atol=1e-6)
        np.testing.assert_allclose(inside[:, i, j], pixels.mean((1, 2)), atol=1e-6)
        last = (i, j)
    assert largest.shape == full.shape == inside.shape == (2, last[0] + 1, last[1] + 1, 3)


TIES = np.maximum(IMAGES.round(), 0)  # as after a ReLU: many equal values


@pytest.mark.parametrize("dtype", [jnp.float32, slow(jnp.bfloat16), slow(jnp.float16)])
@pytest.mark.parametrize("images", [IMAGES, TIES], ids=["distinct", "ties"])
@pytest.mark.parametrize(
    ("k", "s", "pads"),
    [
        (2, 2, ((0, 0), (0, 0))),
        (3, 2, ((0, 0), (0, 0))),
        (3, 2, ((1, 1), (1, 1))),
        (3, 1, ((1, 1), (1, 1))),
        (3, 2, ((0, 1), (0, 1))),
        (2, 3, ((0, 0), (0, 0))),
        (1, 2, ((0, 0), (0, 0))),
        (5, 3, ((2, 2), (2, 2))),
    ],
)
def test_gradient_of_the_maximum_goes_to_the_first_pixel_that_has_it(k, s, pads, images, dtype):
    def outcome(pool):
        largest, pull = jax.vjp(pool, jnp.asarray(images, dtype))
        weights = jnp.arange(1.0, 1 + largest.size).reshape(largest.shape) % 13
        return largest, *pull(weights.astype(dtype))

    ours = outcome(jax.jit(lambda x: max_of(x, Window((k, k), (s, s), pads))))
    theirs = outcome(lambda x: nn.max_pool(x, (k, k), (s, s), pads))
    assert ours[1].dtype == dtype
    for got, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.float32(got), np.float32(wanted), rtol=1e-2)


@pytest.mark.parametrize(
    ("k", "s", "pads"), [(2, 2, ((0, 0), (0, 0))), (3, 2, ((1, 1), (1, 1))), (2, 3, ((0, 0),) * 2)]
)
def test_form_of_gpus_has_the_gradient_of_the_library(k, s, pads):
    window = Window((k, k), (s, s), pads)
    largest = nn.max_pool(TIES, window.shape, window.strides, window.pads)
    weights = jnp.arange(1.0, 1 + largest.size).reshape(largest.shape) % 13
    ours, theirs = (
        jax.jit(partial(form, window=window))(TIES, largest, weights)
        for form in (_to_winners_on_gpu, _by_library)
    )
    np.testing.assert_array_equal(ours, theirs)


@OUR_FORMS
@pytest.mark.parametrize(("platform", "by_library"), [("cuda", False), ("tpu", True)])
def test_forms_on_accelerators(platform, by_library):
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, (3, 3), (2, 2), 1) ** 2)))
    program = gradient.trace(jnp.float32(IMAGES)).lower(lowering_platforms=(platform,)).as_text()
    assert ("reduce_window" in program) == by_library
    assert ("select_and_scatter" in program) == by_library


def test_winners_are_the_first_taps_with_the_maximum():
    window = Window((3, 3), (2, 2), ((1, 1), (1, 1)))
    found = winners(_shifted(TIES, window), max_pool(TIES, (3, 3), (2, 2), 1))
    assert found.dtype == jnp.int8
    padded = np.pad(TIES, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    for i, j in np.ndindex(found.shape[1:3]):
        values = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(2, 9, 3)
        np.testing.assert_array_equal(found[:, i, j], values.argmax(1))


@pytest.mark.slow
@OUR_FORMS
def test_maxima_compose():
    def slope(pool):
        return jax.grad(jax.checkpoint(lambda x: jnp.sum(pool(x) ** 2)))

    def ours(x):
        return max_pool(x, (3, 3), (2, 2), 1)

    def theirs(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    images = jnp.asarray(np.stack([IMAGES, TIES] * 2))
    for transform in (jax.vmap, jax.pmap):
        results = [transform(slope(pool))(images) for pool in (ours, theirs)]
        np.testing.assert_allclose(*results, rtol=1e-6)
    with pytest.raises(TypeError, match="forward"):
        jax.jvp(ours, (IMAGES,), (IMAGES,))


@OUR_FORMS
def test_a_diverged_network_gets_a_gradient():
    """A window without a maximum gives its own to the last tap, and the others theirs as ever."""
    image = jnp.arange(32.0).reshape(1, 4, 4, 2)[:, ::-1]
    slope = jax.grad(lambda x: jnp.sum(max_pool(x, (2, 2), (2, 2))))
    lost = image.at[0, 0, 0].set(jnp.nan)
    found = slope(lost)[0, ..., 0]
    expected = np.array(slope(image)[0, ..., 0])
    assert expected.sum() == 4
    expected[:2, :2] = [[0, 0], [0, 1]]
    np.testing.assert_array_equal(found, expected)


def test_many_taps_and_integers_are_left_to_the_library():
    assert max_pool(np.arange(16).reshape(1, 4, 4, 1), (2, 2), (2, 2)).ravel().tolist() == [
        5,
        7,
        13,
        15,
    ]
    np.testing.assert_array_equal(max_pool(IMAGES, (13, 16), (1, 1))[:, 0, 0], IMAGES.max((1, 2)))


def test_tensorflow_padding_by_name():
    same = max_pool(IMAGES, (3, 3), (2, 2), "SAME")
    assert same.shape == (2, 7, 8, 3)
    # 16 columns need one more on the right, 13 rows one on either side.
    np.testing.assert_array_equal(same[:, 0, 0], IMAGES[:, :2, :3].max((1, 2)))
    np.testing.assert_array_equal(same[:, -1, -1], IMAGES[:, -2:, -2:].max((1, 2)))
    with pytest.raises(ValueError, match="ceil_mode"):
        max_pool(IMAGES, (3, 3), (2, 2), "SAME", ceil_mode=True)


@pytest.mark.parametrize("size", [(6, 6), (1, 1), (4, 5), (20, 7)])
def test_adaptive_bins(size):
    got = adaptive_avg_pool(IMAGES, size)
    assert got.shape == (2, *size, 3)
    for i, j in itertools.product(*map(range, size)):
        top, left = i * 13 // size[0], j * 16 // size[1]
        bottom, right = -(-(i + 1) * 13 // size[0]), -(-(j + 1) * 16 // size[1])
        expected = IMAGES[:, top:bottom, left:right].mean((1, 2))
        np.testing.assert_allclose(got[:, i, j], expected, atol=1e-6)


def test_adaptive_pool_of_a_map_that_fits_is_the_map():
    x = jnp.asarray(IMAGES)
    assert adaptive_avg_pool(x, (13, 16)) is x


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("window", "padding"), [((3, 3), 1), ((2, 5), "SAME"), ((13, 16), 0)])
def test_means_at_every_pixel_have_the_gradient_of_flax(window, padding, counted):
    with jax.enable_x64(True):
        x = jnp.asarray(IMAGES, jnp.float64)
        pads = padding if isinstance(padding, str) else ((padding, padding),) * 2

        def of_flax(x):
            return nn.avg_pool(x, window, (1, 1), pads, counted)

        def ours(x):
            return avg_pool(x, window, (1, 1), padding, count_include_pad=counted)

        wanted, of_output = jax.vjp(of_flax, x)
        got, of_ours = jax.vjp(ours, x)
        np.testing.assert_allclose(got, wanted, atol=1e-14)
        np.testing.assert_allclose(of_ours(got**2)[0], of_output(got**2)[0], atol=1e-13)


@pytest.mark.parametrize("window", [(2, 2), (3, 5), (13, 1)])
def test_means_of_blocks_have_the_gradient_of_flax(window):
    with jax.enable_x64(True):
        x = jnp.asarray(IMAGES, jnp.float64)
        wanted, of_output = jax.vjp(lambda x: nn.avg_pool(x, window, window), x)
        got, of_ours = jax.vjp(lambda x: avg_pool(x, window, window), x)
        np.testing.assert_allclose(got, wanted, atol=1e-14)
        np.testing.assert_allclose(of_ours(got**2)[0], of_output(got**2)[0], atol=1e-14)


def test_means_of_blocks_are_summed_in_float32():
    x = jnp.asarray([[256.0, 1.0], [1.0, 1.0]], jnp.bfloat16)[None, :, :, None]
    assert avg_pool(x, (2, 2), (2, 2)).item() == jnp.asarray(259 / 4, jnp.bfloat16)


def test_bfloat16_stays():
    x = jax.ShapeDtypeStruct(IMAGES.shape, jnp.bfloat16)
    counting_pixels = partial(avg_pool, count_include_pad=False)
    for pool, strides in itertools.product((max_pool, avg_pool, counting_pixels), ((1, 1), (2, 2))):
        found = jax.eval_shape(lambda x, f=pool, s=strides: f(x, (3, 3), s, 1), x)
        assert found.dtype == jnp.bfloat16
    assert jax.eval_shape(lambda x: adaptive_avg_pool(x, (7, 7)), x).dtype == jnp.bfloat16


@OUR_FORMS
def test_the_backward_pass_finds_maxima_among_the_numbers_of_the_forward_pass():
    """Computed again by another kernel they may be rounded otherwise, and no tap is the largest.

    Without that the gradient of GoogLeNet at 224x224 was wrong by 3 % of its norm.
    """

    def cost(x):
        return (max_pool(jnp.sin(x) * 3, (3, 3), (2, 2)) ** 2).sum()

    text = jax.jit(jax.grad(cost)).lower(jnp.ones((2, 16, 16, 4))).compile().as_text()
    assert text.count(" sine(") == 1


DAMAGING = """
import jax, jax.numpy as jnp
from jaxcnn.ops.pool import avg_pool, max_pool
from jaxcnn.models import create_model

x, kernel = jnp.ones((2, 9, 9, 512)), jnp.ones((512, 256))
for pool in (avg_pool, max_pool, jax.grad(lambda x, *window: avg_pool(x, *window).sum())):
    f = jax.jit(lambda x, kernel: pool(jax.nn.relu(x) @ kernel, (2, 2), (2, 2)))
    for _ in range(30):
        f(x, kernel).block_until_ready()
model = create_model("densenet121", 5)
images = jnp.ones((2, 71, 71, 3))
shapes = jax.eval_shape(model.init, jax.random.key(0), images)
variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), shapes)
for _ in range(3):
    jax.jit(model.apply)(variables, images).block_until_ready()
print("whole")
"""


@pytest.mark.slow
def test_pixels_behind_the_last_window_damage_no_memory():
    """In a process of its own, which XLA:CPU's own form ends by "free(): invalid size"."""
    done = subprocess.run(
        [sys.executable, "-c", DAMAGING], env=runs.environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner)


@pytest.mark.parametrize("pool", [avg_pool, max_pool])
@pytest.mark.parametrize(("k", "s", "pads"), [(2, 2, (0, 0)), (3, 3, (1, 1)), (2, 3, (0, 1))])
def test_no_pixel_is_left_behind_the_last_window(pool, k, s, pads):
    """Of windows that do not overlap; see `_without_rest`."""
    x = jax.ShapeDtypeStruct((1, 17, 18, 4), jnp.float32)
    program = jax.make_jaxpr(lambda x: pool(x, (k, k), (s, s), (pads, pads)))(x)
    found = [eqn for eqn in equations(program.jaxpr) if "reduce_window" in eqn.primitive.name]
    for eqn in found:
        sides = eqn.invars[0].aval.shape[1:3]
        for side, (before, after) in zip(sides, eqn.params["padding"][1:3], strict=True):
            assert (side + before + after - k) % s == 0
    assert found
