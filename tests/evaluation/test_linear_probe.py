"""Linear classifiers by least squares, against refitting."""

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.evaluation.linear_probe import STRENGTHS, draw_shots, fit


def examples(count, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(size=(classes, features))
    return 3 + 5 * (centres[labels] + rng.normal(size=(count, features))), labels


def test_the_strength_has_the_smallest_error_of_examples_left_out():
    """By refitting without each of them."""
    x, labels = examples(12, features=20)
    x = (x - x.mean(0)) / x.std(0)
    targets = 2.0 * (labels[:, None] == np.arange(3)) - 1

    def error(strength):
        total = 0.0
        for out in range(len(x)):
            rest = np.delete(np.arange(len(x)), out)
            mean, bias = x[rest].mean(0), targets[rest].mean(0)
            a = x[rest] - mean
            w = np.linalg.solve(a.T @ a + strength * np.eye(20), a.T @ (targets[rest] - bias))
            total += np.sum(((x[out] - mean) @ w + bias - targets[out]) ** 2)
        return total

    assert fit(x, labels)[-1].alpha_ == min(STRENGTHS, key=error)


def test_features_that_are_constant_do_not_matter():
    x, labels = examples(12)
    plain = fit(x, labels)
    more = fit(np.concatenate([x, np.full((12, 2), 7.0)], axis=1), labels)
    np.testing.assert_allclose(more[-1].coef_[:, :6], plain[-1].coef_, rtol=1e-6, atol=1e-9)
    assert np.isfinite(more.decision_function(np.ones((2, 8)))).all()


def test_scales_and_offsets_of_features_do_not_matter():
    x, labels = examples(12)
    plain, other = fit(x, labels), fit(1e3 * x - 5e4, labels)
    found, expected = other.decision_function(1e3 * x - 5e4), plain.decision_function(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_one_example_of_each_class_gives_the_nearest_by_a_linear_score():
    x = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert fit(x, np.arange(3)).score(2 * x + 0.1, np.arange(3)) == 1.0


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
