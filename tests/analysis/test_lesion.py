from functools import partial

import jax
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.analysis.lesion import lesioned, removable
from jaxcnn.errors import UserError

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
small = {"stage_sizes": (1, 2), "width": 4}
EVERY_UNIT = ["stage1/block1", "stage2/block1", "stage2/block2"]


def started(model):
    """Variables without compiling an init."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.uniform(0.1, 0.7, leaf.shape).astype(leaf.dtype), shapes)


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("cifar_resnet20", EVERY_UNIT),
        ("cifar_resnet110_v2", EVERY_UNIT),
        ("cifar_resnet110_sd", EVERY_UNIT),
        ("cifar_plain20", ["stage1/block1", "stage2/block2"]),
    ],
)
def test_removable_are_all_units_with_a_shortcut_or_of_one_shape(name, units):
    model = create_model(name, **small)
    assert removable(model, SHAPE) == units
    assert removable(model, SHAPE, keeping_shape=True) == ["stage1/block1", "stage2/block2"]


def test_removable_are_the_convolutions_where_there_are_no_units():
    model = create_model("vgg11_bn", stage_sizes=(1, 2), stage_features=(4, 8), pool_size=(1, 1))
    assert removable(model, SHAPE) == ["stage2/conv2"]


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_resnet110_v2"])
def test_a_removed_unit_is_its_shortcut(name):
    """The network without a unit of one shape is the one that never had it."""
    whole = create_model(name, **small)
    shorter = create_model(name, **{**small, "stage_sizes": (1, 1)})
    variables = started(whole)
    rest = {c: {**tree, "stage2": dict(tree["stage2"])} for c, tree in variables.items()}
    for tree in rest.values():
        del tree["stage2"]["block2"]
    left = lesioned(whole, ["stage2/block2"])
    got, expected, intact = jax.jit(
        lambda: (left.apply(variables, X), shorter.apply(rest, X), whole.apply(variables, X))
    )()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(got - intact).max() > 1e-3


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_plain20"])
def test_which_units_are_removed_can_be_an_argument(name):
    """Then all choices share a program."""
    model = create_model(name, **small)
    variables = started(model)
    units = removable(model, SHAPE)
    chosen = lesioned(model, units)
    apply = jax.jit(lambda removed: chosen.apply(variables, X, removed=removed))
    for left in ([], units[-1:], units):
        expected = jax.jit(partial(lesioned(model, left).apply, variables, X))()
        np.testing.assert_allclose(apply(np.isin(units, left)), expected, rtol=1e-5, atol=1e-6)


def test_a_removed_unit_that_changes_the_shape_leaves_its_shortcut():
    """As if the last BN of its branch put out zeros."""
    whole = create_model("cifar_resnet20", **small)
    variables = started(whole)
    zeroed = jax.tree.map(np.array, variables)
    for leaf in zeroed["params"]["stage2"]["block1"]["norm2"].values():
        leaf[:] = 0
    left = lesioned(whole, ["stage2/block1"])
    got, expected = jax.jit(lambda: (left.apply(variables, X), whole.apply(zeroed, X)))()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_removed_unit_of_a_plain_network_is_missing():
    whole = create_model("cifar_plain20", **small)
    shorter = create_model("cifar_plain20", **{**small, "stage_sizes": (1, 1)})
    variables = started(whole)
    left = lesioned(whole, ["stage2/block2"])
    rest = {c: {**tree, "stage2": dict(tree["stage2"])} for c, tree in variables.items()}
    for tree in rest.values():
        del tree["stage2"]["block2"]
    got, expected = jax.jit(lambda: (left.apply(variables, X), shorter.apply(rest, X)))()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_variables_are_those_of_the_whole():
    whole = create_model("cifar_resnet20", **small)
    init = [
        jax.eval_shape(model.init, jax.random.key(0), X)
        for model in (whole, lesioned(whole, ["stage1/block1"]))
    ]
    assert init[0] == init[1]


@pytest.mark.parametrize(
    ("name", "unit", "message"),
    [
        ("cifar_resnet20", "stage2/block3", "no unit 'stage2/block3'.*stage2/block2"),
        ("cifar_plain20", "stage2/block1", "stage2/block1 changes the shape"),
    ],
)
def test_what_cannot_be_removed_says_so(name, unit, message):
    whole = create_model(name, **small)
    with pytest.raises(UserError, match=message) as error:
        jax.eval_shape(lesioned(whole, [unit]).init, jax.random.key(0), X)
    assert "\n" not in str(error.value)
