"""Residual branches beside their shortcuts, the sum form, and what dense layers take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.analysis import residual
from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.errors import UserError
from tests.marks import slow

SHAPE = (8, 8, 3)
SMALL = {"stage_sizes": (2, 2), "width": 4}
KEY = jax.random.key(0)


def started(model, dtype=np.float32):
    """Random variables without compiling an init."""
    images = jax.ShapeDtypeStruct((1, *SHAPE), dtype)
    shapes = jax.eval_shape(model.init, KEY, images)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.uniform(0.1, 0.7, leaf.shape).astype(leaf.dtype), shapes)


@pytest.mark.parametrize(
    ("name", "units"),
    [
        (
            "cifar_resnet20",
            [
                ("stage1/block1/add", "stage1/block1/norm2", "stem/relu"),
                ("stage1/block2/add", "stage1/block2/norm2", "stage1/block1/relu_2"),
            ],
        ),
        (
            "cifar_resnet110_v2",
            [
                ("stage1/block1/add", "stage1/block1/conv2", "stem/relu"),
                ("stage1/block2/add", "stage1/block2/conv2", "stage1/block1/add"),
            ],
        ),
    ],
)
def test_units_are_sums_of_a_branch_and_a_shortcut(name, units):
    found = residual.residual_units(trace_shapes(create_model(name, **SMALL), SHAPE))
    assert found[:2] == units
    assert len(found) == 4


def test_a_projection_is_a_shortcut():
    model = create_model("cifar_resnet20", **SMALL, shortcut="B")
    found = residual.residual_units(trace_shapes(model, SHAPE))
    assert found[2].shortcut == "stage2/block1/proj/norm"


@pytest.mark.parametrize(
    ("name", "fields", "shape"),
    [
        ("lenet5", {}, (32, 32, 1)),  # sums of branches of one length
        ("cifar_plain20", SMALL, SHAPE),
        slow("fractalnet20_cifar10", {}, (32, 32, 3)),  # the shorter side has a ReLU
        ("densenet_40_12", {"stage_sizes": (2, 2)}, SHAPE),
    ],
)
def test_other_sums_are_no_units(name, fields, shape):
    assert not residual.residual_units(trace_shapes(create_model(name, **fields), shape))


@pytest.mark.parametrize(
    ("name", "sizes", "units"),
    [("inception_resnet_v2", (1, 2, 1), 5), ("resnet50", (1, 2), 3), ("wrn_28_10", (2, 1), 3)],
)
def test_all_units_are_found(name, sizes, units):
    model = create_model(name, stage_sizes=sizes)
    assert len(residual.residual_units(trace_shapes(model, (139, 139, 3)))) == units


def test_sizes_are_those_of_the_branches():
    """A branch whose last BatchNorm has scale 0 is zero."""
    model = create_model("cifar_resnet20", stage_sizes=(2,), width=4)
    variables, images = started(model), jax.random.normal(KEY, (2, *SHAPE))
    for name in ("scale", "bias"):
        variables["params"]["stage1"]["block2"]["norm2"][name][:] = 0
    found = residual.branch_sizes(model, variables, images)
    assert list(found) == ["stage1/block1/add", "stage1/block2/add"]
    assert found["stage1/block1/add"].branch > 0
    assert found["stage1/block2/add"].branch == 0
    np.testing.assert_allclose(
        found["stage1/block2/add"].sum, found["stage1/block2/add"].shortcut, rtol=1e-6
    )


@pytest.mark.slow
def test_the_sum_form_is_exact_where_shortcuts_are_identities():
    """He et al., "Identity Mappings", eq. 4: to rounding in float64; ReLUs behind sums break it."""
    with jax.enable_x64(True):
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        images = np.random.default_rng(0).normal(size=(2, *SHAPE))
        gaps = {}
        for name in ("cifar_resnet110_v2", "cifar_resnet20"):
            model = create_model(name, stage_sizes=(3, 2), width=4, **types)
            variables = started(model, np.float64)
            variables["params"] = jax.tree.map(lambda leaf: leaf - 0.4, variables["params"])
            found = residual.sum_forms(model, variables, images)
            assert [one.units for one in found.values()] == [3, 2]
            assert next(iter(found)) == "stage1/block1/add to stage1/block3/add"
            gaps[name] = max(float(one.gap / one.size) for one in found.values())
    assert gaps["cifar_resnet110_v2"] < 1e-14
    assert gaps["cifar_resnet20"] > 1e-3


def test_a_network_without_units_is_refused():
    model = create_model("cifar_plain20", **SMALL)
    with pytest.raises(UserError, match="has no residual units"):
        residual.branch_sizes(model, started(model), jnp.ones((1, *SHAPE)))


def test_feature_reuse_is_the_mean_weight_of_each_source():
    model = create_model("densenet_bc_100_12", stage_sizes=(2, 2), growth_rate=4, num_classes=3)
    variables = jax.tree.map(np.zeros_like, started(model))
    kernel = variables["params"]["transition1"]["conv"]["kernel"]  # of 8 + 4 + 4 channels
    kernel[:, :, :8], kernel[:, :, 8:12], kernel[:, :, 12:] = -2, 3, 5
    found = residual.feature_reuse(model, variables, jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32))
    assert list(found) == [
        "stage1/layer2/conv1",
        "transition1/conv",
        "stage2/layer2/conv1",
        "classifier",
    ]
    row = {name: float(value) for name, value in found["transition1/conv"].items()}
    assert row == {"stem/conv": 2, "stage1/layer1/conv2": 3, "stage1/layer2/conv2": 5}


@pytest.mark.parametrize(
    ("name", "fields", "side"), [("cifar_plain20", SMALL, 8), ("lenet5_modern", {}, 32)]
)
def test_a_network_without_dense_blocks_is_refused(name, fields, side):
    """Concatenations alone are none: those of Inception modules do not grow."""
    model, images = (
        create_model(name, **fields),
        jax.ShapeDtypeStruct((1, side, side, 3), "float32"),
    )
    shapes = jax.eval_shape(model.init, KEY, images)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with pytest.raises(UserError, match="choose a DenseNet"):
        residual.feature_reuse(model, variables, images)
