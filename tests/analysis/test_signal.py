"""Moments of activations and gradients, dead units, gradients of auxiliary heads."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.analysis import signal
from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm, sow_auxiliary
from jaxcnn.layers.head import runs_auxiliary
from jaxcnn.layers.initializers import glorot_normal, he_normal

KEY = jax.random.key(0)
WIDTH, DEPTH = 256, 10


class Deep(nn.Module):
    """Layers of one width, so that fan-in and fan-out are the same."""

    act: callable
    kernel_init: callable

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        for number in range(DEPTH):
            dense = nn.Dense(
                WIDTH, use_bias=False, kernel_init=self.kernel_init, name=f"layer{number}"
            )
            x = self.act(dense(x))
        return nn.Dense(WIDTH, use_bias=False, kernel_init=self.kernel_init, name="classifier")(x)


class TwoHeads(nn.Module):
    """A convolution, on which an auxiliary head sits, and another one."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(4, (3, 3), name="lower")(x))
        if runs_auxiliary(self, train):
            sow_auxiliary(self, "aux1", nn.Dense(3, name="aux1_head")(x.mean((1, 2))))
        x = nn.relu(nn.Conv(4, (3, 3), name="upper")(x))
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


def linear(x):
    return x


@pytest.mark.parametrize(
    ("act", "init", "factor"),
    [
        (nn.relu, he_normal(), 1),  # He et al., eq. 10: ½·n·Var[w] = 1
        (nn.relu, glorot_normal, 1 / 2),
        (nn.tanh, glorot_normal, 1),  # Glorot and Bengio, eq. 10: n·Var[w] = 1
        pytest.param(linear, glorot_normal, 1, marks=pytest.mark.slow),
        pytest.param(linear, he_normal(), 2, marks=pytest.mark.slow),
    ],
)
def test_variances_grow_from_layer_to_layer_by_the_factor_of_the_theory(act, init, factor):
    """Outputs upwards and gradients downwards, geometric mean over ten layers."""
    model = Deep(act, init)
    images = 0.05 * jax.random.normal(KEY, (32, 16, 16, 1))
    variables = model.init(jax.random.key(1), images)
    found = jax.device_get(signal.moments(model, variables, images, jnp.arange(32)))
    layers = [found[f"layer{number}"] for number in range(DEPTH)]
    outputs = np.array([one.std for one in layers]) ** 2
    gradients = np.array([one.gradient_std for one in layers]) ** 2
    assert outputs[-1] / outputs[0] == pytest.approx(factor ** (DEPTH - 1), rel=0.25)
    assert gradients[0] / gradients[-1] == pytest.approx(factor ** (DEPTH - 1), rel=0.25)


@pytest.mark.slow
def test_moments_are_those_of_the_layers_and_of_each_image_s_own_gradient():
    model, images = TwoHeads(), jax.random.normal(KEY, (2, 6, 6, 2))
    labels = jnp.array([2, 0])
    variables = model.init(KEY, images)
    found = signal.moments(model, variables, images, labels)
    assert list(found) == [node.name for node in trace(model, variables, images).nodes]
    logits = model.apply(variables, images)
    gradient = jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)
    of_logits = found["classifier"]
    expected = (logits.mean(), logits.std(), gradient.mean(), gradient.std())
    np.testing.assert_allclose(np.array(of_logits), np.array(expected), rtol=1e-4, atol=1e-7)
    twice = signal.moments(
        model, variables, jnp.concatenate([images, images]), jnp.concatenate([labels, labels])
    )
    np.testing.assert_allclose(
        np.array(list(twice.values())), np.array(list(found.values())), rtol=1e-3, atol=1e-7
    )


def test_small_numbers_do_not_become_zero():
    assert float(signal.root_mean_square(jnp.full(4, 1e-30))) == pytest.approx(1e-30, rel=1e-5)
    assert signal.root_mean_square(jnp.zeros(4)) == 0


class Normed(nn.Module):
    """A convolution and a BatchNorm."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        x = nn.relu(BatchNorm(use_running_average=not train, name="norm")(x))
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


@pytest.mark.slow
def test_by_batch_statistics_a_network_is_as_in_training():
    model, images = Normed(), 3 + 2 * jax.random.normal(KEY, (4, 6, 6, 2))
    variables, labels = model.init(KEY, images), jnp.arange(4) % 3
    set_ = signal.with_batch_statistics(model, variables, images)
    in_training, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(model.apply(set_, images), in_training, rtol=1e-4, atol=1e-5)
    found = jax.device_get(signal.moments(model, variables, images, labels, batch_statistics=True))
    assert found["norm"].mean == pytest.approx(0, abs=1e-5)
    assert found["norm"].std == pytest.approx(1, abs=1e-3)
    assert signal.moments(model, variables, images, labels)["norm"].std > 1.5


def test_gradients_go_through_the_statistics_of_a_batch():
    """In front of a BatchNorm a shift of a channel changes nothing."""
    model, images = Normed(), 3 + 2 * jax.random.normal(KEY, (4, 6, 6, 2))
    variables, labels = model.init(KEY, images), jnp.arange(4) % 3
    set_ = signal.with_batch_statistics(model, variables, images)
    graph = trace(model, set_, images)

    def shift(through):
        gradient = signal.flow(graph, set_, images, labels, through).gradients["conv"]
        return np.abs(np.asarray(gradient).sum((0, 1, 2))).max()

    assert shift(through=True) < 1e-5
    assert shift(through=False) > 1e-2


def test_a_network_without_batch_norm_keeps_its_variables():
    model, images = Deep(nn.relu, he_normal()), jnp.ones((1, 4, 4, 1))
    variables = jax.eval_shape(model.init, KEY, images)
    assert signal.with_batch_statistics(model, variables, images) is variables


class Dying(nn.Module):
    """Three channels of one pixel's value: alive, dead, and alive in the left half only."""

    @nn.compact
    def __call__(self, x, train=False):
        left = jnp.arange(x.shape[2])[None, None, :, None] < x.shape[2] // 2
        x = jnp.concatenate([x, -x, jnp.where(left, x, -x)], axis=-1)
        return nn.relu(x).mean((1, 2))


def test_dead_units_are_those_that_no_image_of_any_batch_wakes():
    model = Dying()
    positive, negative = jnp.ones((2, 4, 4, 1)), jnp.ones((2, 4, 4, 1)).at[:].set(-1)
    (found,) = signal.dead_shares([signal.active_units(model, {}, positive)]).values()
    assert found == signal.DeadShare(units=0.5, channels=pytest.approx(1 / 3))
    both = [signal.active_units(model, {}, images) for images in (positive, negative)]
    assert list(signal.dead_shares(both).values()) == [signal.DeadShare(0, 0)]


def test_a_network_without_relu_has_no_dead_units():
    model, images = Deep(nn.tanh, he_normal()), jnp.ones((1, 4, 4, 1))
    with pytest.raises(UserError, match="has no ReLU"):
        signal.active_units(model, jax.eval_shape(model.init, KEY, images), images)


@pytest.mark.slow
def test_gradients_of_heads_are_those_of_their_own_losses():
    model, images, labels = TwoHeads(), jax.random.normal(KEY, (3, 6, 6, 2)), jnp.array([0, 1, 2])
    variables = model.init(KEY, images)
    found = signal.head_gradients(model, variables, images, labels)
    assert set(found) == {"logits", "aux1"}
    assert list(found["aux1"]) == ["lower/kernel", "upper/kernel", "classifier/kernel"]
    found = jax.device_get(found)
    assert found["aux1"]["upper/kernel"] == found["aux1"]["classifier/kernel"] == 0

    def loss(params, head):
        logits, updated = model.apply({"params": params}, images, mutable=["aux"])
        rows = jax.nn.log_softmax(updated["aux"]["aux1"] if head == "aux1" else logits)
        return -rows[jnp.arange(3), labels].mean()

    for head, name in itertools.product(found, ("lower", "upper")):
        gradient = jax.grad(loss)(variables["params"], head)[name]["kernel"]
        expected = np.sqrt(np.square(gradient).mean())
        assert found[head][f"{name}/kernel"] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_a_network_without_heads_is_refused():
    model, images = Normed(), jnp.ones((1, 6, 6, 2))
    with pytest.raises(UserError, match="has no auxiliary heads"):
        signal.head_gradients(model, model.init(KEY, images), images, jnp.zeros(1, int))
