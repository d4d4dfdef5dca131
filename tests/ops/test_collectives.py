"""Sums and means over devices: those of each array, with few operations that wait."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops import collectives
from jaxcnn.ops.collectives import SMALL, all_reduce

SHAPES = {"kernel": (3, 3, 4, 8), "bias": (8,), "rate": (), "none": (0,), "large": (SMALL + 1,)}


def trees():
    """A tree with a row for each device."""
    rng, count = np.random.default_rng(0), jax.local_device_count()
    tree = {name: rng.normal(size=(count, *shape)) for name, shape in SHAPES.items()}
    tree = {"wide": jax.tree.map(np.float32, tree), "narrow": jax.tree.map(np.float16, tree)}
    return {**tree, "count": np.arange(count, dtype=np.int32)}


@pytest.mark.parametrize("reduce", [jax.lax.psum, jax.lax.pmean])
def test_a_tree_is_reduced_as_its_arrays_are(reduce):
    tree = trees()
    if reduce is jax.lax.pmean:
        del tree["count"]
    found = jax.pmap(lambda tree: all_reduce(reduce, tree, "data"), "data")(tree)
    expected = jax.pmap(lambda tree: jax.tree.map(lambda x: reduce(x, "data"), tree), "data")(tree)
    chex.assert_trees_all_equal(found, expected)


def test_small_arrays_of_a_dtype_are_one_operation():
    lowered = jax.pmap(lambda tree: all_reduce(jax.lax.psum, tree, "data"), "data").lower(trees())
    large_ones, dtypes = 2, 3
    assert lowered.as_text().count("all_reduce") == large_ones + dtypes


def test_what_travels_together_is_limited(monkeypatch):
    monkeypatch.setattr(collectives, "MOST", 100)
    tree = np.ones((jax.local_device_count(), 60), np.float32)
    reduced = jax.pmap(lambda tree: all_reduce(jax.lax.psum, tree, "data"), "data")
    assert reduced.lower(5 * [tree]).as_text().count("all_reduce") == 4  # 60, 120 and 180, …
    chex.assert_trees_all_equal(reduced(5 * [tree]), 5 * [len(tree) * tree])


def test_a_single_device_copies_nothing():
    one = jax.pmap(
        lambda tree: all_reduce(jax.lax.psum, tree, "data"), "data", devices=jax.devices()[:1]
    )
    tree = jax.tree.map(lambda x: x[:1], trees())
    assert "concatenate" not in one.lower(tree).as_text()
    chex.assert_trees_all_equal(one(tree), tree)


def test_without_devices_nothing_is_reduced():
    tree = {"a": jnp.ones(3)}
    assert all_reduce(jax.lax.psum, tree, None) is tree
