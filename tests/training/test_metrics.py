import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.training.metrics import classification_sums, top_k_hits


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_the_rank_of_a_stable_sort_also_with_ties(k):
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 4, size=(200, 10)).astype(np.float32)  # many equal scores
    labels = rng.integers(0, 10, size=200)
    order = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
    expected = (order == labels[:, None]).any(-1)
    np.testing.assert_array_equal(top_k_hits(jnp.asarray(logits), jnp.asarray(labels), k), expected)


def test_equal_scores_are_no_hit_for_everyone():
    labels = jnp.arange(10)
    assert top_k_hits(jnp.zeros((10, 10)), labels, 1).sum() == 1
    assert top_k_hits(jnp.zeros((10, 10)), labels, 5).sum() == 5


@pytest.mark.parametrize("k", [1, 5])
def test_a_score_that_is_not_a_number_is_never_a_hit(k):
    everything = jnp.full((4, 4), jnp.nan)
    assert not top_k_hits(everything, jnp.arange(4), k).any()
    elsewhere = jnp.array([[9.0, jnp.nan, 0.0, 0.0]])
    assert not top_k_hits(elsewhere, jnp.array([0]), k).any()


def test_infinite_scores_are_ranked():
    logits = jnp.array([[jnp.inf, 0.0, -jnp.inf]])
    assert top_k_hits(logits, jnp.array([0]), 1).all()
    assert not top_k_hits(logits, jnp.array([2]), 2).any()


def test_with_fewer_than_five_classes_all_are_among_the_first_five():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
    assert top_k_hits(logits, jnp.array([0, 1, 2, 0, 1, 2]), 5).all()


def test_sums_are_weighted_and_rows_without_weight_say_nothing():
    logits = jnp.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [jnp.nan, jnp.nan]])
    losses = jnp.array([0.5, 2.0, 7.0, jnp.nan])
    sums = classification_sums(
        logits, {"loss": losses}, jnp.array([0, 1, 0, 0]), jnp.array([1.0, 1.0, 0.0, 0.0])
    )
    assert {key: float(value) for key, value in sums.items()} == {
        "loss": 2.5,
        "top1": 1.0,
        "top5": 2.0,
        "count": 2.0,
    }
