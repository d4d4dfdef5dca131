"""Linear classifiers by least squares, against scikit-learn's and against refitting."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV

from jaxcnn.errors import UserError
from jaxcnn.evaluation import linear_probe
from jaxcnn.evaluation.linear_probe import STRENGTHS, draw_shots, fit


def examples(count, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(size=(classes, features))
    return 3 + 5 * (centres[labels] + rng.normal(size=(count, features))), labels


def standardised(x):
    return (x - x.mean(0)) / x.std(0)


@pytest.mark.parametrize("shape", [(30, 6), (7, 20), (3, 50), (20, 20)])
def test_classifier_and_strength_are_those_of_scikit_learn(shape):
    x, labels = examples(*shape)
    found = fit(x, labels, 3)
    expected = RidgeClassifierCV(alphas=STRENGTHS).fit(standardised(x), labels)
    assert found.strength == expected.alpha_
    np.testing.assert_allclose(found.kernel.T, expected.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.bias, expected.intercept_, rtol=1e-9)
    other, _ = examples(9, shape[1], seed=5)
    scores = expected.decision_function((other - x.mean(0)) / x.std(0))
    np.testing.assert_allclose(found.scores(other), scores, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(12, 4), (5, 8)])
def test_errors_of_examples_left_out_are_those_of_refitting(shape):
    x, labels = examples(*shape)
    x, targets, strength = standardised(x), 2.0 * (labels[:, None] == np.arange(3)) - 1, 3.0
    expected = 0.0
    for out in range(len(x)):
        rest = np.delete(np.arange(len(x)), out)
        mean, bias = x[rest].mean(0), targets[rest].mean(0)
        a = x[rest] - mean
        w = np.linalg.solve(a.T @ a + strength * np.eye(shape[1]), a.T @ (targets[rest] - bias))
        expected += np.sum(((x[out] - mean) @ w + bias - targets[out]) ** 2)
    left, values, _ = linear_probe._singular(x)
    centred = targets - targets.mean(0)
    found = linear_probe._left_out(left, values, left.T @ centred, centred, strength)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_features_that_are_constant_do_not_matter():
    x, labels = examples(12)
    plain = fit(x, labels, 3)
    more = fit(np.concatenate([x, np.full((12, 2), 7.0)], axis=1), labels, 3)
    np.testing.assert_allclose(more.kernel[:6], plain.kernel, rtol=1e-6, atol=1e-9)
    assert np.isfinite(more.scores(np.ones((2, 8)))).all()


def test_scales_and_offsets_of_features_do_not_matter():
    x, labels = examples(12)
    plain, other = fit(x, labels, 3), fit(1e3 * x - 5e4, labels, 3)
    np.testing.assert_allclose(other.scores(1e3 * x - 5e4), plain.scores(x), rtol=1e-5, atol=1e-8)


def test_one_example_of_each_class_gives_the_nearest_by_a_linear_score():
    x = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    probe = fit(x, np.arange(3), 3)
    assert probe.accuracy(2 * x + 0.1, np.arange(3)) == 1.0


def test_the_shots_are_of_each_class_and_follow_the_seed():
    _, labels = examples(30)
    drawn = draw_shots(labels, 4, "abc", seed=1)
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [4, 4, 4])
    assert len(set(drawn.tolist())) == 12
    np.testing.assert_array_equal(drawn, draw_shots(labels, 4, "abc", seed=1))
    assert not np.array_equal(drawn, draw_shots(labels, 4, "abc", seed=2))


def test_too_many_shots_are_answered():
    with pytest.raises(UserError, match="--shots=3: class b has 2 training images"):
        draw_shots(np.array([0, 0, 0, 1, 1]), 3, ["a", "b"], seed=0)
