import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.training.fields import LossConfig
from jaxcnn.training.losses import (
    balanced_weights,
    cross_entropy,
    make_objective,
    mixed_labels,
    rbf_map,
    rbf_mse,
    squared_error,
    squared_hinge,
)

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
    objective = make_objective(LossConfig(label_smoothing=0.1, aux_weight=0.3))
    targets = 0.9 * np.eye(4)[LABELS] + 0.1 / 4
    aux = {"aux1": {"logits": (first,)}, "aux2": {"logits": (second,)}}  # as sow makes them
    expected = reference(main, targets)
    expected = expected + 0.3 * (reference(first, targets) + reference(second, targets))
    np.testing.assert_allclose(objective(main, aux, jnp.asarray(LABELS), 0.0), expected, rtol=1e-5)


@pytest.mark.parametrize("aux", [None, {}])
def test_without_heads_the_objective_is_the_cross_entropy(aux):
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    found = make_objective(LossConfig(aux_weight=0.3))(logits, aux, labels, 0.0)
    np.testing.assert_array_equal(found, cross_entropy(logits, labels))


def test_the_gradient_is_the_softmax_minus_the_targets():
    logits = jnp.asarray(LOGITS, jnp.float32)
    found = jax.grad(lambda x: cross_entropy(x, jnp.asarray(LABELS), 0.1).sum())(logits)
    targets = 0.9 * np.eye(4)[LABELS] + 0.1 / 4
    np.testing.assert_allclose(found, jax.nn.softmax(logits) - targets, atol=1e-6)


def by_hand(name, row, label):
    if name == "squared_hinge":
        return sum(max(0, 1 - (1 if k == label else -1) * f) ** 2 for k, f in enumerate(row))
    if name == "squared_error":
        return sum((f - (k == label)) ** 2 for k, f in enumerate(row)) / 2
    distance = -row[label]
    if name == "rbf_mse":
        return distance
    return distance + np.log(np.exp(-0.1) + sum(np.exp(f) for f in row))


@pytest.mark.parametrize("loss", [squared_hinge, squared_error, rbf_mse, rbf_map])
def test_other_losses_by_hand(loss):
    rows = np.array([[2.0, -1.0, 0.5], [0.0, -0.3, -2.0], [-3.0, -9.0, -1.0]])
    labels = [2, 0, 1]
    expected = [by_hand(loss.__name__, row, label) for row, label in zip(rows, labels, strict=True)]
    found = loss(jnp.asarray(rows, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_linear_regression_fits_real_targets():
    """Gradient descent on the squared error comes to the solution of least squares."""
    rng = np.random.default_rng(0)
    inputs, targets = (jnp.asarray(rng.normal(size=(20, n)), jnp.float32) for n in (3, 2))
    gradient = jax.jit(jax.grad(lambda w: squared_error(inputs @ w, targets).mean()))
    weights = jnp.zeros((3, 2))
    for _ in range(300):
        weights -= 0.3 * gradient(weights)
    expected = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    np.testing.assert_allclose(weights, expected, atol=1e-4)


def test_the_loss_of_mixed_labels_is_that_of_both_in_their_shares():
    logits = jnp.asarray(LOGITS, jnp.float32)
    labels, partners, shares = jnp.asarray(LABELS), jnp.array([1, 0, 3]), jnp.array([0.3, 0.6, 1.0])
    targets = mixed_labels(labels, partners, shares, logits)
    np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)
    for smoothing in (0.0, 0.1):
        objective = make_objective(
            LossConfig(label_smoothing=smoothing, aux_weight=0.3), mixed=True
        )
        aux = {"aux1": logits[::-1]}
        whole, own, other = (objective(logits, aux, y, 0.0) for y in (targets, labels, partners))
        np.testing.assert_allclose(whole, shares * own + (1 - shares) * other, rtol=1e-5)


@pytest.mark.parametrize("loss", [squared_error, rbf_mse, rbf_map, squared_hinge])
def test_the_gradient_of_mixed_labels_is_that_of_both_in_their_shares(loss):
    logits = jnp.asarray([[2.0, -1.0, 0.5], [0.0, -0.3, -2.0]])
    labels, partners, shares = jnp.array([2, 0]), jnp.array([1, 1]), jnp.array([0.3, 0.6])
    targets = mixed_labels(labels, partners, shares, logits)
    whole, own, other = (
        jax.grad(lambda x, y=y: loss(x, y).sum())(logits) for y in (targets, labels, partners)
    )
    expected = shares[:, None] * own + (1 - shares[:, None]) * other
    same = np.allclose(whole, expected, atol=1e-5)
    if loss is squared_hinge:
        assert not same
        with pytest.raises(UserError, match="squared_hinge has no meaning for mixed labels"):
            make_objective(LossConfig("squared_hinge"), mixed=True)
    else:
        assert same
        make_objective(LossConfig(loss.__name__), mixed=True)


def test_companions_count_above_their_threshold_and_fade():
    main, head = jnp.zeros((2, 4)), jnp.asarray([[9.0, 0, 0, 0], [0, 0, 0, 0]])
    labels = jnp.array([0, 0])
    objective = make_objective(LossConfig(aux_weight=0.5, aux_threshold=0.1, aux_decay="linear"))
    log4 = np.log(4)
    for progress in (0.0, 0.25, 1.0):
        found = objective(main, {"aux1": head}, labels, progress)
        companion = 0.5 * (1 - progress) * (log4 - 0.1)
        np.testing.assert_allclose(found, [log4, log4 + companion], rtol=1e-6)


def test_the_mean_over_a_batch_is_that_of_its_labelled_part():
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    unlabelled = jnp.full(3, -1)
    rows = jnp.concatenate([logits, 7 * logits[::-1]])
    objective = make_objective(LossConfig(aux_weight=0.3))
    costs = jnp.arange(6.0)
    aux = {"aux1": rows, "denoising": costs}
    found = objective(rows, aux, jnp.concatenate([labels, unlabelled]), 0.0)
    expected = objective(logits, {"aux1": logits}, labels, 0.0).mean() + costs.mean()
    np.testing.assert_allclose(found.mean(), expected, rtol=1e-6)
    np.testing.assert_array_equal(found[3:], costs[3:])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "hinge"}, "squared_hinge"),
        ({"aux_decay": "linaer"}, "linear"),
        ({"name": "squared_error", "label_smoothing": 0.1}, "cross_entropy"),
    ],
)
def test_an_objective_that_does_not_exist_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        make_objective(LossConfig(**fields))


WEIGHTS = (2.0, 0.5, 1.0, 0.0)


def test_class_weights_multiply_the_losses_of_their_examples():
    objective = make_objective(LossConfig(), class_weights=WEIGHTS)
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    expected = np.array(WEIGHTS)[LABELS] * reference(LOGITS, np.eye(4)[LABELS])
    np.testing.assert_allclose(objective(logits, None, labels, 0.0), expected, rtol=1e-6)


def test_whole_class_weights_are_copies_of_the_examples():
    """In the gradient of the sum."""
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    weighted = make_objective(LossConfig(label_smoothing=0.1), class_weights=(3, 1, 2, 5))
    plain = make_objective(LossConfig(label_smoothing=0.1))
    found = jax.grad(lambda x: weighted(x, None, labels, 0.0).sum())(logits)
    copies = np.array([0, 0, 1, 1, 1, 2])
    expected = jax.grad(lambda x: plain(x[copies], None, labels[copies], 0.0).sum())(logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_a_mixed_label_has_the_mean_weight_of_its_classes():
    soft = np.array([[0.3, 0, 0.7, 0], [1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    objective = make_objective(LossConfig(), class_weights=WEIGHTS)
    found = objective(jnp.asarray(LOGITS, jnp.float32), None, jnp.asarray(soft), 0.0)
    expected = (soft @ WEIGHTS) * reference(LOGITS, soft)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_class_weights_are_of_all_heads_and_of_no_other_cost():
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    aux = {"head": logits / 2, "cost": jnp.array([1.0, 2.0, 3.0])}
    objective = make_objective(LossConfig(aux_weight=0.3), class_weights=WEIGHTS)
    heads = cross_entropy(logits, labels) + 0.3 * cross_entropy(logits / 2, labels)
    expected = np.array(WEIGHTS)[LABELS] * heads + aux["cost"]
    np.testing.assert_allclose(objective(logits, aux, labels, 0.0), expected, rtol=1e-6)


def test_hidden_labels_have_no_weight():
    logits, labels = jnp.asarray(LOGITS, jnp.float32), jnp.array([-1, 0, 1])
    found = make_objective(LossConfig(), class_weights=WEIGHTS)(logits, None, labels, 0.0)
    expected = np.array([0, 2.0, 0.5]) * reference(LOGITS, np.eye(4)[[0, 0, 1]]) * 3 / 2
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("counts", [[3, 1, 6], [5, 5], [4, 0, 2, 0]])
def test_balanced_weights_are_those_of_scikit_learn(counts):
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat(np.arange(len(counts)), counts)
    present = np.flatnonzero(counts)
    expected = np.zeros(len(counts))
    expected[present] = compute_class_weight("balanced", classes=present, y=labels)
    found = np.array(balanced_weights(counts))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[labels].mean(), 1)


def test_a_wrong_number_of_class_weights_is_answered():
    objective = make_objective(LossConfig(), class_weights=(1.0, 2.0))
    with pytest.raises(UserError, match=r"loss\.class_weights has 2 numbers .* 4 classes"):
        objective(jnp.asarray(LOGITS, jnp.float32), None, jnp.asarray(LABELS), 0.0)
    with pytest.raises(UserError, match=r"class_weights=.*is not balanced, or a tuple"):
        LossConfig(class_weights=("equal",))
    with pytest.raises(UserError, match=r"class_weights=.*is not balanced, or a tuple"):
        LossConfig(class_weights=(-1.0,))
