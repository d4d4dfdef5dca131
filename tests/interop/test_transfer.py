"""Weights go into another network of the same body, or it is said why not."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.errors import UserError
from jaxcnn.interop.transfer import transfer

SHAPES = {
    "params/stem/conv/kernel": (3, 3, 3, 4),
    "params/stem/norm/scale": (4,),
    "params/stage1/depthwise/kernel": (3, 3, 1, 4),
    "params/stage1/conv/kernel": (3, 3, 4, 5),
    "params/stage1/conv/bias": (5,),
    "params/aux1_head/conv/kernel": (1, 1, 5, 2),
    "params/aux1_head/norm/scale": (2,),
    "params/aux1_head/classifier/kernel": (2, 10),
    "params/aux1_head/classifier/bias": (10,),
    "params/classifier/kernel": (5, 10),
    "params/classifier/bias": (10,),
    "batch_stats/stem/norm/mean": (4,),
    "batch_stats/aux1_head/norm/mean": (2,),
}
BODY = [path for path in SHAPES if "classifier" not in path and "aux" not in path]


def variables(seed, without="-", **changed):
    """Random variables of these shapes; `changed` are shapes by the end of their paths."""
    rng = np.random.default_rng(seed)
    ends = {end.replace("__", "/"): shape for end, shape in changed.items()}
    flat = {}
    for path, shape in SHAPES.items():
        if without not in path:
            end = next((end for end in ends if path.startswith(end)), None)
            flat[path] = rng.normal(size=ends.get(end, shape)).astype(np.float32)
    return traverse_util.unflatten_dict(flat, sep="/")


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def assert_like(found, fresh):
    assert jax.tree.structure(found) == jax.tree.structure(fresh)
    for leaf, own in zip(jax.tree.leaves(found), jax.tree.leaves(fresh), strict=True):
        assert (leaf.shape, leaf.dtype) == (own.shape, own.dtype)


def from_where(found, fresh, given):
    """Says "given" or "fresh" of every path."""
    sources = {"given": flat(given), "fresh": flat(fresh)}
    return {
        path: next(
            name
            for name, source in sources.items()
            if path in source and np.array_equal(source[path], leaf)
        )
        for path, leaf in flat(found).items()
    }


def test_equal_networks_hand_over_everything():
    fresh, given_ = variables(0), variables(1)
    before = jax.tree.map(np.copy, (fresh, given_))
    found, done = transfer(fresh, given_)
    chex.assert_trees_all_equal(found, given_)
    chex.assert_trees_all_equal((fresh, given_), before)
    assert sorted(done.copied) == sorted(SHAPES)
    assert (done.changed, done.new, done.left_out) == ([], [], [])


def test_types_and_shape_of_the_tree_are_the_fresh_ones():
    fresh = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), variables(0))
    given_ = jax.tree.map(lambda x: x.astype(np.float64), variables(1))
    found, _ = transfer(fresh, given_)
    assert_like(found, fresh)
    without_norm = {"params": variables(0)["params"], "batch_stats": {}}
    found, _ = transfer(without_norm, {"params": variables(1)["params"]})
    assert_like(found, without_norm)


def test_a_classifier_of_another_class_count_stays_fresh():
    fresh = variables(0, params__classifier__kernel=(5, 7), params__classifier__bias=(7,))
    found, done = transfer(fresh, variables(1))
    sources = from_where(found, fresh, variables(1))
    assert {path for path, source in sources.items() if source == "fresh"} == {
        "params/classifier/kernel",
        "params/classifier/bias",
    }
    assert done.new == ["classifier: 7 classes instead of 10"]
    assert done.left_out == []


def test_an_auxiliary_head_s_classifier_stays_fresh_too():
    aux = {
        "params__aux1_head__classifier__kernel": (2, 7),
        "params__aux1_head__classifier__bias": (7,),
    }
    fresh = variables(0, **aux)
    found, done = transfer(fresh, variables(1))
    sources = from_where(found, fresh, variables(1))
    assert {path for path, source in sources.items() if source == "fresh"} == {
        "params/aux1_head/classifier/kernel",
        "params/aux1_head/classifier/bias",
    }
    assert done.new == ["aux1_head/classifier: 7 classes instead of 10"]


@pytest.mark.parametrize("head", ["aux1_head", "params/classifier"])
def test_heads_may_be_missing_on_either_side(head):
    whole, bare, name = variables(0), variables(1, without=head), head.split("/")[-1]
    found, done = transfer(whole, bare)
    assert_like(found, whole)
    for path, source in from_where(found, whole, bare).items():
        assert source == ("fresh" if head in path else "given"), path
    assert done.new == [f"{name}: not given"]
    assert done.left_out == []

    found, done = transfer(bare, whole)
    assert set(from_where(found, bare, whole).values()) == {"given"}
    assert_like(found, bare)
    assert (done.new, done.left_out) == ([], [name])


def test_a_shape_is_enough_of_a_fresh_leaf():
    changed = {"params__classifier__kernel": (5, 7), "params__classifier__bias": (7,)}
    form = jax.eval_shape(lambda: variables(0, **changed))
    found, done = transfer(form, variables(1, without="aux1"))
    assert {path for path, leaf in flat(found).items() if isinstance(leaf, np.ndarray)} == {
        *done.copied
    }
    assert len(done.new) == 2


@pytest.mark.parametrize(("ours", "theirs"), [(1, 3), (3, 1)])
def test_the_stem_answers_to_grey_images_as_before(ours, theirs):
    fresh = variables(0, params__stem__conv=(3, 3, ours, 4))
    given_ = variables(1, params__stem__conv=(3, 3, theirs, 4))
    found, done = transfer(fresh, given_)
    assert_like(found, fresh)
    assert len(done.changed) == 1
    assert done.changed[0].startswith("stem/conv: ")
    assert len(done.copied) == len(SHAPES) - 1
    grey = np.random.default_rng(2).normal(size=(2, 8, 8, 1)).astype(np.float32)

    def response(tree, channels):
        kernel = {"params": {"kernel": tree["params"]["stem"]["conv"]["kernel"]}}
        return nn.Conv(4, (3, 3), use_bias=False).apply(kernel, grey.repeat(channels, -1))

    np.testing.assert_allclose(
        response(found, ours), response(given_, theirs), rtol=1e-5, atol=1e-5
    )


def test_other_channels_than_grey_and_colour_are_refused():
    for ours, theirs in ((4, 3), (2, 1)):
        fresh = variables(0, params__stem__conv=(3, 3, ours, 4))
        with pytest.raises(UserError, match="1 misshapen: params/stem/conv/kernel"):
            transfer(fresh, variables(1, params__stem__conv=(3, 3, theirs, 4)))


def test_two_kernels_of_other_input_channels_are_no_stem():
    """But convolutions in groups on one side."""
    fresh = variables(0, params__stem__conv=(3, 3, 1, 4), params__stage1__depthwise=(3, 3, 3, 4))
    with pytest.raises(UserError, match="2 misshapen: "):
        transfer(fresh, variables(1))


def test_a_classifier_of_other_features_is_another_network_s():
    fresh = variables(0, params__classifier__kernel=(6, 7), params__classifier__bias=(7,))
    with pytest.raises(UserError, match=r"params/classifier/kernel \(5, 10\) instead of \(6, 7\)"):
        transfer(fresh, variables(1))


def test_a_head_that_is_given_in_part_is_refused():
    with pytest.raises(UserError, match=r"1 missing: params/aux1_head/conv/kernel$"):
        transfer(variables(0), variables(1, without="aux1_head/conv"))
    with pytest.raises(UserError, match=r"1 not used: params/classifier/bias$"):
        transfer(variables(0, without="params/classifier/bias"), variables(1))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_else_differs_is_named(data):
    """Arrays of the body that are lost, too many, or of another shape, in any combination."""
    fresh, given_ = variables(0), flat(variables(1))
    paths = data.draw(st.lists(st.sampled_from(BODY), min_size=1, max_size=4, unique=True))
    for path in paths:
        kind = data.draw(st.sampled_from(["lost", "renamed", "larger", "flat"]))
        if kind == "larger":
            axis = data.draw(st.integers(0, given_[path].ndim - 1))
            given_[path] = np.repeat(given_[path], 2, axis)
        elif kind == "flat":
            given_[path] = given_[path].reshape(-1, 1)
        else:
            leaf = given_.pop(path)
            if kind == "renamed":
                given_[f"{path}s"] = leaf
    with pytest.raises(UserError) as info:
        transfer(fresh, traverse_util.unflatten_dict(given_, sep="/"))
    for path in paths:
        assert path in str(info.value)
