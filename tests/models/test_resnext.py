from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv, batch_norm
from jaxcnn.models.resnext import AggregatedBottleneck, cifar_resnext, imagenet_resnext

SMALL = {"stage_sizes": (1, 1), "cardinality": 2, "base_width": 4}


def shapes(model):
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def in_paths(unit, form, cardinality):
    """Parameters or statistics of a unit of form (c), as forms (a) and (b) have them."""

    def share(leaf, group):
        """Of the channels that a layer of the path puts out."""
        return np.split(leaf, cardinality, axis=-1)[group]

    inner = ["conv1", "norm1", "conv2", "norm2"]
    result = {name: layer for name, layer in unit.items() if name not in inner}
    paths = [
        {name: jax.tree.map(partial(share, group=i), unit[name]) for name in inner if name in unit}
        for i in range(cardinality)
    ]
    if form == "a" and "conv3" in unit:
        kernels = np.split(result.pop("conv3")["kernel"], cardinality, axis=2)
        for path, kernel in zip(paths, kernels, strict=True):
            path["conv3"] = {"kernel": kernel}
    return result | {f"path{i + 1}": path for i, path in enumerate(paths)}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["a", "b"])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("strides", "channels"), [(1, 32), (2, 6)])
def test_the_three_forms_are_one_function(form, train, strides, channels, start):
    cardinality = 4
    with jax.enable_x64(True):
        types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        norm = batch_norm(nn.BatchNorm, train=train, momentum=0.9, epsilon=1e-5, **types)
        conv = partial(Conv, use_bias=False, **types)
        fields = {"strides": strides, "cardinality": cardinality, "base_width": 24}
        unit = partial(AggregatedBottleneck, 8, conv, norm, nn.relu, **fields)
        grouped, split = unit(), unit(form=form)
        x = np.random.default_rng(0).normal(size=(3, 6, 6, channels))
        variables = start(grouped, x)
        assert variables["params"]["conv2"]["kernel"].shape == (3, 3, 3, 12)
        sliced = {key: in_paths(tree, form, cardinality) for key, tree in variables.items()}
        of_split = jax.eval_shape(split.init, jax.random.key(0), x)
        assert jax.tree.map(jnp.shape, sliced) == jax.tree.map(jnp.shape, of_split)

        run = jax.jit(lambda model, v: model.apply(v, x, mutable=["batch_stats"]), static_argnums=0)
        (expected, stats), (got, stats_got) = run(grouped, variables), run(split, sliced)
        stats = in_paths(jax.tree.map(np.asarray, stats["batch_stats"]), form, cardinality)
        assert expected.dtype == jnp.float64
        close = partial(np.testing.assert_allclose, rtol=0, atol=1e-12 * np.abs(expected).max())
        close(got, expected)
        jax.tree.map(close, stats_got["batch_stats"], stats)
        if train:
            moved = stats["norm3"]["mean"] - variables["batch_stats"]["norm3"]["mean"]
            assert np.abs(moved).min() > 1e-6


def of_form(form, **fields):
    return imagenet_resnext(50, block=partial(AggregatedBottleneck, form=form, **fields))


def test_networks_of_every_form_have_the_same_number_of_parameters():
    sizes = {
        sum(leaf.size for leaf in jax.tree.leaves(shapes(of_form(form).clone(**SMALL))))
        for form in "abc"
    }
    assert len(sizes) == 1
    assert shapes(of_form("c").clone(**SMALL)) == shapes(imagenet_resnext(50, **SMALL))


@pytest.mark.parametrize(
    ("name", "group", "inner"),
    [
        ("resnext50_32x4d", 4, 128),
        ("resnext101_64x4d", 4, 256),
        ("resnext101_32x8d", 8, 256),
        ("resnext29_8x64d", 64, 512),
        ("resnext29_16x64d", 64, 1024),
    ],
)
def test_widths_of_the_groups(name, group, inner, trace):
    params = trace(name).variables["params"]
    for i in range(len([key for key in params if key.startswith("stage")])):
        block = params[f"stage{i + 1}"]["block1"]
        assert block["conv2"]["kernel"].shape == (3, 3, group * 2**i, inner * 2**i)
        assert block["conv3"]["kernel"].shape == (1, 1, inner * 2**i, 256 * 2**i)


@pytest.mark.parametrize(
    ("cardinality", "base_width", "inner"),
    [(1, 64, 64), (2, 40, 80), (4, 24, 96), (8, 14, 112), (32, 4, 128)],
)
def test_cardinality_against_width_at_equal_cost(cardinality, base_width, inner):
    """Table 2 of the paper: about as many weights as ResNet's unit of 256 channels."""
    fields = {"stage_sizes": (2,), "cardinality": cardinality, "base_width": base_width}
    unit = shapes(create_model("resnext50_32x4d", **fields))["stage1"]["block2"]
    assert unit["conv2"]["kernel"].shape == (3, 3, inner // cardinality, inner)
    weights = sum(unit[f"conv{i}"]["kernel"].size for i in (1, 2, 3))
    assert weights == pytest.approx(70_000, rel=0.025)


def test_width_of_a_group_rounds_down():
    unit = shapes(create_model("resnext50_32x4d", width=24, cardinality=3, base_width=5))
    assert unit["stage1"]["block1"]["conv2"]["kernel"].shape == (3, 3, 1, 3)
    assert unit["stage4"]["block1"]["conv2"]["kernel"].shape == (3, 3, 15, 45)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imagenet_resnext(18), "no ResNeXt of depth 18"),
        (lambda: cifar_resnext(30, 8), r"9n\+2"),
        (lambda: shapes(create_model("resnext50_32x4d", width=8)), "make it 8 or more"),
        (
            lambda: shapes(of_form("d")),
            "no form 'd' of a unit: choose one of a, b, c",
        ),
        (lambda: shapes(of_form("a", stride_first=True)), "no stride_first"),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.slow
def test_one_group_of_64_is_resnet():
    assert shapes(imagenet_resnext(50, 1, 64)) == shapes(create_model("resnet50"))
