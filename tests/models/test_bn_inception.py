from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.layers import Conv
from jaxcnn.layers.inception_blocks import Branches
from jaxcnn.models.bn_inception import AVERAGE, MAX, Row, Stem, module


def images(size):
    return jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "widest"),
    [("bn_inception", (608, 608, 1056)), ("inception_v2_slim", (576, 576, 1024))],
)
def test_maps_of_the_papers_table(name, widest):
    run = partial(create_model(name).init_with_output, capture_intermediates=True, mutable=True)
    _, state = jax.eval_shape(run, jax.random.key(0), images(224))
    maps = state["intermediates"]
    assert maps["stem"]["conv1"]["__call__"][0].shape == (2, 112, 112, 64)
    assert maps["stem"]["__call__"][0].shape == (2, 28, 28, 192)
    for stage, expected in (
        ("stage1", ((28, 256), (28, 320), (14, 576))),
        ("stage2", ((14, 576), (14, 576), *zip((14, 14, 7), widest, strict=True))),
        ("stage3", ((7, 1024), (7, 1024))),
    ):
        outputs = [maps[stage][f"block{i + 1}"]["__call__"][0].shape for i in range(len(expected))]
        assert outputs == [(2, size, size, channels) for size, channels in expected]
        assert f"block{len(expected) + 1}" not in maps[stage]


@pytest.mark.slow
def test_stems(trace):
    plain = trace("bn_inception").variables["params"]["stem"]
    assert set(plain) == {"conv1", "conv2", "conv3"}
    assert plain["conv1"]["conv"]["kernel"].shape == (7, 7, 3, 64)
    separable = trace("inception_v2_slim").variables["params"]["stem"]
    assert {k: v.shape for k, v in separable["depthwise"].items()} == {"kernel": (7, 7, 1, 24)}
    assert separable["conv1"]["conv"]["kernel"].shape == (1, 1, 24, 64)
    assert set(separable["conv1"]) == {"conv", "norm"}


@pytest.mark.parametrize(
    "row",
    [
        Row(2, 3, 4, 3, 5, AVERAGE, 2),
        Row(2, 3, 4, 3, 5, MAX, 2),
        Row(0, 3, 4, 3, 5, MAX, 0, strides=2),
    ],
    ids=["average", "max", "strided"],
)
def test_module_pads_as_tensorflow_does(row, start):
    """SAME puts the odd pixel of a stride below and to the right; Flax has it, too."""
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    net = Branches(module(row), partial(Conv, use_bias=False), norm=None, act=nn.relu)
    variables = start(net, x)
    names = sorted(variables["params"])
    pool = partial(nn.avg_pool, count_include_pad=False) if row.pool is AVERAGE else nn.max_pool

    def conv(branch, number, x, strides=1):
        params = variables["params"][names[branch]][f"conv{number}"]["conv"]
        *size, _, features = params["kernel"].shape
        layer = nn.Conv(features, size, strides, use_bias=False, padding="SAME")
        return nn.relu(layer.apply({"params": params}, x))

    def branches(x):
        first = 1 if row.conv1x1 else 0
        if row.conv1x1:
            yield conv(0, 1, x)
        yield conv(first, 2, conv(first, 1, x), row.strides)
        double = conv(first + 1, 2, conv(first + 1, 1, x))
        yield conv(first + 1, 3, double, row.strides)
        pooled = pool(x, (3, 3), strides=(row.strides, row.strides), padding="SAME")
        yield conv(first + 2, 1, pooled) if row.pool_proj else pooled

    got, expected = jax.jit(
        lambda: (net.apply(variables, x), jnp.concatenate([*branches(x)], -1))
    )()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("separable", [False, True])
def test_stem_pads_as_tensorflow_does(separable, start):
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    stem = Stem(partial(Conv, use_bias=False), norm=None, act=nn.relu, separable=separable)
    variables = start(stem, x)

    def conv(name, x, **fields):
        params = variables["params"][name]
        params = params.get("conv", params)
        *size, _, features = params["kernel"].shape
        return nn.Conv(features, size, use_bias=False, **fields).apply({"params": params}, x)

    def reference(x):
        if separable:
            x = conv("depthwise", x, strides=2, feature_group_count=3)
            x = conv("conv1", x)
        else:
            x = conv("conv1", x, strides=2)
        x = nn.max_pool(nn.relu(x), (3, 3), (2, 2), "SAME")
        x = nn.relu(conv("conv3", nn.relu(conv("conv2", x))))
        return nn.max_pool(x, (3, 3), (2, 2), "SAME")

    got, expected = jax.jit(lambda: (stem.apply(variables, x), reference(x)))()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_last_module_alone_projects_a_maximum():
    pools = [[row.pool for row in rows] for rows in create_model("bn_inception").modules]
    averages = [sum(pool is AVERAGE for pool in row) for row in pools]
    assert averages == [2, 4, 1]
    assert [row[-1] is MAX for row in pools] == [True] * 3


def test_what_slim_changes():
    paper, slim = create_model("bn_inception"), create_model("inception_v2_slim")
    assert (paper.dropout_rate, slim.dropout_rate) == (0.0, 0.2)
    assert (paper.norm_momentum, slim.norm_momentum) == (0.9, 0.9997)
    changed = [
        (a, b)
        for rows in zip(paper.modules, slim.modules, strict=True)
        for a, b in zip(*rows, strict=True)
        if a != b
    ]
    assert [(a.conv1x1, a.pool_proj, b.pool_proj) for a, b in changed] == [
        (160, 128, 96),
        (96, 128, 96),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bn_inception", "inception_v2_slim"])
def test_any_size_of_image(name):
    logits, _ = jax.eval_shape(create_model(name).init_with_output, jax.random.key(0), images(1))
    assert logits.shape == (2, 1000)
