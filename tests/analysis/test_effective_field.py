"""Effective receptive fields within the theoretical ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.analysis.effective_field import effective_receptive_field, mass_size
from jaxcnn.errors import UserError

KEY = jax.random.key(0)


class Chain(nn.Module):
    """Convolutions with a stride, a dilation and an even kernel, and a pool."""

    act: callable = nn.relu
    kernel_init: callable = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x, train=False):
        conv = partial(nn.Conv, kernel_init=self.kernel_init, use_bias=False)
        x = self.act(conv(4, (3, 3), strides=2, name="conv1")(x))
        x = self.act(conv(4, (3, 3), kernel_dilation=2, name="conv2")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = self.act(conv(4, (2, 3), padding="VALID", name="conv3")(x))
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


def inside(box, shape):
    """Booleans (H, W): the pixels of a box."""
    top, left, bottom, right = box
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    return ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))


@pytest.mark.slow
def test_with_positive_weights_and_identity_activations_it_fills_the_theoretical_one():
    model = Chain(lambda x: x, nn.initializers.uniform(1.0))
    images = jax.random.normal(KEY, (3, 40, 44, 2))
    variables = model.init(KEY, images)
    for layer in ("conv1", "conv2", "conv3"):
        found = effective_receptive_field(model, variables, images, layer)
        rows, columns = (np.flatnonzero(found.gradient.any(axis)) for axis in (1, 0))
        assert found.box == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), layer
    top, left, bottom, right = found.box
    assert (bottom - top, right - left) == (17, 21)
    assert abs((top + bottom) / 2 - 20) <= 4  # the distance of units is 4 pixels
    assert abs((left + right) / 2 - 22) <= 4


@pytest.mark.slow
def test_the_support_is_within_the_theoretical_field():
    model, images = Chain(), jax.random.normal(KEY, (16, 40, 44, 2))
    variables = model.init(KEY, images)
    found = effective_receptive_field(model, variables, images, "conv3", key=jax.random.key(1))
    assert found.layer == "conv3"
    assert found.gradient.max() > 0
    assert not found.gradient[~inside(found.box, (40, 44))].any()
    assert 1 < found.size <= 21
    assert found.ratio == pytest.approx(found.size / 21)
    assert 0 < found.above**2 <= 17 * 21


@pytest.mark.slow
def test_the_channel_of_each_image_comes_from_the_key():
    model, images = Chain(), jax.random.normal(KEY, (1, 24, 24, 2))
    variables = model.init(KEY, images)
    of = partial(effective_receptive_field, model, variables, images)
    maps = [of("conv2", key=jax.random.key(number)).gradient for number in range(8)]
    assert any(np.abs(one - maps[0]).max() > 0 for one in maps)
    np.testing.assert_array_equal(of("conv2", key=jax.random.key(3)).gradient, maps[3])


def test_a_rectifier_that_is_off_does_not_hide_the_field():
    model, images = Chain(), jax.random.normal(KEY, (1, 24, 24, 2))
    variables = model.init(KEY, images)
    for number in range(4):
        of = partial(
            effective_receptive_field, model, variables, images, key=jax.random.key(number)
        )
        np.testing.assert_array_equal(of("relu_2").gradient, of("conv2").gradient)


def test_without_a_name_it_is_that_of_the_last_maps():
    model, images = Chain(), jnp.ones((1, 24, 24, 2))
    found = effective_receptive_field(model, model.init(KEY, images), images)
    assert found.layer == "relu_3"


@pytest.mark.parametrize(("layer", "message"), [("classifier", "has no maps"), ("conv9", "conv")])
def test_a_layer_without_maps_is_refused(layer, message):
    model, images = Chain(), jnp.ones((1, 24, 24, 2))
    with pytest.raises(UserError, match=message):
        effective_receptive_field(model, model.init(KEY, images), images, layer)


@pytest.mark.parametrize(
    ("shape", "box", "size"),
    [
        ((9, 9), (0, 0, 9, 9), 9),  # 7x7 of 81 pixels are 60 %
        ((100, 100), (0, 0, 100, 100), 98),  # 98² of 100² are 96 %
        ((9, 9), (-3, -3, 12, 12), 9),  # a field beyond the image
    ],
)
def test_the_size_of_a_uniform_gradient(shape, box, size):
    assert mass_size(np.ones(shape), box) == size


def test_the_size_of_a_point_and_of_nothing():
    point = np.zeros((9, 9))
    assert mass_size(point, (0, 0, 9, 9)) == 0
    point[4, 4] = 2
    assert mass_size(point, (0, 0, 9, 9)) == 1
    assert mass_size(point, (4, 4, 6, 6)) == 2  # the middle is between pixels
    point[4, 6] = 0.05
    assert mass_size(point, (0, 0, 9, 9)) == 1
    point[4, 6] = 0.2
    assert mass_size(point, (0, 0, 9, 9)) == 5
