import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.losses import cross_entropy, make_objective

LOGITS = np.array([[2.0, -1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [-3.0, 90.0, 1.0, -90.0]])
LABELS = np.array([2, 0, 1])


def reference(logits, targets):
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -(targets * log_probabilities).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_smoothed_labels(smoothing):
    targets = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    found = cross_entropy(jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS), smoothing)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, reference(LOGITS, targets), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_are_smoothed_alike(smoothing):
    soft = np.array([[0.3, 0, 0.7, 0], [1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    targets = (1 - smoothing) * soft + smoothing / 4
    found = cross_entropy(jnp.asarray(LOGITS, jnp.float32), jnp.asarray(soft), smoothing)
    np.testing.assert_allclose(found, reference(LOGITS, targets), rtol=1e-6, atol=1e-6)


def test_each_auxiliary_head_adds_its_weighted_share():
    rng = np.random.default_rng(0)
    main, first, second = (jnp.asarray(rng.normal(size=(3, 4)), jnp.float32) for _ in range(3))
    objective = make_objective(smoothing=0.1, aux_weight=0.3)
    targets = 0.9 * np.eye(4)[LABELS] + 0.1 / 4
    aux = {"aux1": {"logits": (first,)}, "aux2": {"logits": (second,)}}  # as sow makes them
    expected = reference(main, targets)
    expected = expected + 0.3 * (reference(first, targets) + reference(second, targets))
    np.testing.assert_allclose(objective(main, aux, jnp.asarray(LABELS)), expected, rtol=1e-5)


@pytest.mark.parametrize("aux", [None, {}])
def test_without_heads_the_objective_is_the_cross_entropy(aux):
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    found = make_objective(0.0, 0.3)(logits, aux, labels)
    np.testing.assert_array_equal(found, cross_entropy(logits, labels))


def test_the_gradient_is_the_softmax_minus_the_targets():
    logits = jnp.asarray(LOGITS, jnp.float32)
    found = jax.grad(lambda x: cross_entropy(x, jnp.asarray(LABELS), 0.1).sum())(logits)
    targets = 0.9 * np.eye(4)[LABELS] + 0.1 / 4
    np.testing.assert_allclose(found, jax.nn.softmax(logits) - targets, atol=1e-6)
