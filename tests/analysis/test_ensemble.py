import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.analysis import ensemble
from jaxcnn.errors import UserError
from jaxcnn.layers.dropout import Dropout

RNG = np.random.default_rng(0)
UNITS = 5
IMAGES = RNG.normal(size=(3, 2, 2, 1))


class OneHidden(nn.Module):
    """Dropout on one layer of hidden units, and a linear layer: what Hinton et al. speak of."""

    rate: float = 0.3
    dtype: type = jnp.float64

    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(len(images), -1)
        x = nn.tanh(nn.Dense(UNITS, dtype=self.dtype, param_dtype=self.dtype)(x))
        x = Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(4, dtype=self.dtype, param_dtype=self.dtype)(x)


def every_mask(rate=0.3):
    """All 2^n masks and their probabilities."""
    masks = np.array(list(itertools.product([False, True], repeat=UNITS)))
    kept = masks.sum(-1)
    return masks, (1 - rate) ** kept * rate ** (UNITS - kept)


def logits_of_all(model, variables):
    masks, weights = every_mask()
    each = [
        ensemble.sub_network(model, variables, IMAGES, lambda number, keep, shape, m=m: m[None])
        for m in jnp.array(masks)
    ]
    return jnp.stack(each), weights


@pytest.fixture(scope="module")
def one_hidden():
    with jax.enable_x64(True):
        model = OneHidden()
        variables = model.init(jax.random.key(1), IMAGES)
        logits, weights = logits_of_all(model, variables)
        whole = model.apply(variables, IMAGES)
        assert whole.dtype == jnp.float64
        single = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables)
        return np.asarray(logits), weights, np.asarray(whole), single


@pytest.mark.slow
def test_the_mean_over_all_sub_networks_of_a_linear_layer_is_the_scaled_network(one_hidden):
    logits, weights, whole, _ = one_hidden
    assert weights.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(np.tensordot(weights, logits, 1), whole, rtol=0, atol=1e-14)
    assert np.ptp(logits, axis=0).max() > 0.1


def test_the_normalised_geometric_mean_of_all_sub_networks_is_the_scaled_softmax(one_hidden):
    """Hinton et al., 2012: exact with one hidden layer. The arithmetic mean is another one."""
    logits, weights, whole, _ = one_hidden
    logs = jax.nn.log_softmax(logits)
    product = np.exp(np.tensordot(weights, np.asarray(logs), 1))
    product /= product.sum(-1, keepdims=True)
    scaled = np.asarray(jax.nn.softmax(whole))
    np.testing.assert_allclose(product, scaled, rtol=0, atol=1e-6)
    mean = np.tensordot(weights, np.exp(logs), 1)
    assert np.abs(mean - scaled).max() > 1e-4


def test_geometric_mean_is_normalised_and_arithmetic_mean_is_the_mean():
    logs = np.log(RNG.dirichlet(np.ones(4), size=(6, 3)))
    product = np.prod(np.exp(logs), axis=0) ** (1 / 6)
    expected = product / product.sum(-1, keepdims=True)
    np.testing.assert_allclose(ensemble.geometric_mean(logs), expected, rtol=1e-5)
    np.testing.assert_allclose(ensemble.arithmetic_mean(logs), np.exp(logs).mean(0), rtol=1e-5)


@pytest.mark.slow
def test_samples_come_from_the_key_and_near_the_mean_over_all(one_hidden):
    logits, weights, _, variables = one_hidden
    model = OneHidden(dtype=jnp.float32)
    draw = partial(ensemble.sampled_networks, model, variables, IMAGES)
    found = draw(jax.random.key(2), 1000)
    assert found.shape == (1000, 3, 4)
    np.testing.assert_array_equal(draw(jax.random.key(2), 4), draw(jax.random.key(2), 4))
    assert np.abs(draw(jax.random.key(2), 4) - draw(jax.random.key(3), 4)).max() > 0.01
    expected = np.tensordot(weights, np.asarray(jax.nn.softmax(logits)), 1)
    spread = np.asarray(jax.nn.softmax(logits)).std(0).max()
    np.testing.assert_allclose(
        ensemble.arithmetic_mean(found), expected, atol=5 * spread / np.sqrt(1000)
    )


@pytest.mark.slow
def test_all_images_see_the_same_sub_network():
    model = OneHidden(rate=0.5, dtype=jnp.float32)
    variables = model.init(jax.random.key(1), IMAGES)
    same = np.repeat(IMAGES[:1], 8, axis=0)
    found = ensemble.sampled_networks(model, variables, same, jax.random.key(0), 3)
    np.testing.assert_allclose(found, np.repeat(found[:, :1], 8, axis=1), rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_convergence_counts_what_the_first_members_say():
    scaled = np.log([[0.5, 0.5], [0.9, 0.1]])
    members = np.log([[[0.9, 0.1], [0.9, 0.1]], [[0.1, 0.9], [0.9, 0.1]]])
    found = ensemble.convergence(members, scaled, (1, 2), labels=[0, 1])
    np.testing.assert_allclose(found.arithmetic, [0.2, 0], atol=1e-6)
    np.testing.assert_allclose(found.geometric, [0.2, 0], atol=1e-6)
    assert found.error[0] == 0.5
    assert found.scaled_error == 0.5
    assert np.isnan(ensemble.convergence(members, scaled, (1,)).error).all()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("alexnet", {"image": 64}),
        ("densenet_40_12", {"image": 8, "dropout_rate": 0.2, "stage_sizes": (1, 1)}),
    ],
)
def test_dropout_of_the_networks_is_found_and_batch_norm_stays_as_it_is(name, fields):
    side = fields.pop("image")
    model = create_model(name, num_classes=3, **fields)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    seen = []

    def mask(number, keep, shape):
        seen.append((number, keep, shape[0]))
        return jnp.ones(shape, bool)

    logits = jax.eval_shape(lambda v, x: ensemble.sub_network(model, v, x, mask), variables, images)
    assert logits.shape == (2, 3)
    assert [number for number, _, _ in seen] == list(range(len(seen)))
    assert len(seen) >= 2
    assert {batch for _, _, batch in seen} == {1}


def test_a_network_without_dropout_is_refused():
    model = create_model("cifar_resnet20", stage_sizes=(1,))
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    draw = partial(ensemble.sampled_networks, model, count=1)
    with pytest.raises(UserError, match="drops nothing"):
        jax.eval_shape(draw, variables, images, jax.random.key(0))
