from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.layers.shortcut import subsample_and_pad
from jaxcnn.models.resnet import BasicBlock, Bottleneck, ResNet, cifar_resnet, imagenet_resnet

EVERY_UNIT_OF_34 = [
    f"stage{s}/block{b + 1}" for s, n in enumerate((3, 4, 6, 3), start=1) for b in range(n)
]


def shapes(model, size=32):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def maps(model, size):
    """Shapes (H, W, C) of every module's output, by path."""
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.eval_shape(apply, shapes(model), images)
    flat = flax.traverse_util.flatten_dict(state["intermediates"])
    return {"/".join(path[:-1]): value[0].shape[1:] for path, value in flat.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["stage2/block1", "stage3/block1", "stage4/block1"]),
        ("resnet34", ["stage2/block1", "stage3/block1", "stage4/block1"]),
        ("resnet50", ["stage1/block1", "stage2/block1", "stage3/block1", "stage4/block1"]),
        ("resnet50_v1", ["stage1/block1", "stage2/block1", "stage3/block1", "stage4/block1"]),
        ("resnet34_c", EVERY_UNIT_OF_34),
        ("resnet18_a", []),
        ("plain18", []),
        ("cifar_resnet56", []),
        ("cifar_plain56", []),
    ],
)
def test_projections_stand_where_the_shortcut_says(name, expected, trace):
    params = flax.traverse_util.flatten_dict(trace(name).variables["params"])
    assert (
        sorted("/".join(p[:2]) for p in params if p[2:] == ("proj", "conv", "kernel")) == expected
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "conv1", "conv2"), [("resnet50", 28, 14), ("resnet50_v1", 14, 14)]
)
def test_position_of_the_stride(name, conv1, conv2):
    size = maps(create_model(name), 112)
    assert size["stage2/block1/conv1"] == (conv1, conv1, 128)
    assert size["stage2/block1/conv2"] == (conv2, conv2, 128)
    assert size["stage2/block2/conv1"] == (14, 14, 128)
    assert size["stage1/block1/conv1"] == (28, 28, 64)


@pytest.mark.slow
def test_shapes_of_the_papers_table():
    size = maps(create_model("resnet101"), 224)
    assert size["stem"] == (112, 112, 64)
    assert [size[f"stage{i}"] for i in (1, 2, 3, 4)] == [
        (56, 56, 256),
        (28, 28, 512),
        (14, 14, 1024),
        (7, 7, 2048),
    ]
    size = maps(create_model("cifar_resnet20"), 32)
    assert [size[k] for k in ("stem", "stage1", "stage2", "stage3")] == [
        (32, 32, 16),
        (32, 32, 16),
        (16, 16, 32),
        (8, 8, 64),
    ]


@pytest.mark.parametrize("size", [6, 7])
def test_option_a_subsamples_and_appends_zero_channels(size):
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    y = np.asarray(subsample_and_pad(x, 5, 2))
    assert y.shape == (2, -(-size // 2), -(-size // 2), 5)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], 0)


@pytest.mark.slow
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_units_add_their_shortcut(block, start):
    """With the scale of the last BN at zero a unit on a non-negative input is its shortcut."""
    out = 4 * block.expansion
    last = {"scale": np.zeros(out, np.float32), "bias": np.zeros(out, np.float32)}

    def unit(shortcut, channels, strides=1):
        norm = partial(nn.BatchNorm, use_running_average=True)
        conv = partial(Conv, use_bias=False)
        model = block(4, conv, norm, nn.relu, shortcut=shortcut, strides=strides)
        x = np.random.default_rng(1).uniform(size=(2, 7, 7, channels)).astype(np.float32)
        variables = start(model, x)
        params = variables["params"]
        params["norm3" if block is Bottleneck else "norm2"] = last
        return x, np.asarray(jax.jit(model.apply)(variables, x)), variables

    for shortcut in "AB":
        x, y, variables = unit(shortcut, channels=out)
        np.testing.assert_array_equal(x, y)
        assert "proj" not in variables["params"]
    x, y, variables = unit("A", channels=3, strides=2)
    np.testing.assert_array_equal(y, subsample_and_pad(x, out, 2))
    assert "proj" not in variables["params"]
    for shortcut, channels, strides in (("B", 3, 1), ("B", out, 2), ("C", out, 1)):
        x, y, variables = unit(shortcut, channels, strides)
        projected = x[:, ::strides, ::strides] @ variables["params"]["proj"]["conv"]["kernel"][0, 0]
        scale, stats = variables["params"]["proj"]["norm"], variables["batch_stats"]["proj"]["norm"]
        normed = (projected - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
        expected = np.maximum(normed * scale["scale"] + scale["bias"], 0)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    _, y, variables = unit("none", channels=out)
    assert not y.any()
    assert "proj" not in variables["params"]


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "last"), [(18, "norm2"), (50, "norm3")])
def test_zero_init_last_is_off_by_default_and_touches_only_the_last_norm(depth, last):
    assert not create_model(f"resnet{depth}").zero_init_last
    model = imagenet_resnet(
        depth, stage_sizes=(1,), width=4, shortcut="C", zero_init_last=True, num_classes=0
    )
    params = model.init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))["params"]
    block = params["stage1"]["block1"]
    assert not block.pop(last)["scale"].any()
    others = [module for name, module in block.items() if name.startswith("norm")]
    for norm in (*others, block["proj"]["norm"], params["stem"]["norm"]):
        assert np.all(norm["scale"] == 1)


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_twins_have_the_parameters_of_option_a(depth, trace):
    assert trace(f"plain{depth}").variables == trace(f"resnet{depth}_a").variables


@pytest.mark.parametrize("depth", [20, 56])
def test_plain_cifar_twins_have_the_parameters_of_the_resnets(depth, trace):
    assert trace(f"cifar_plain{depth}").variables == trace(f"cifar_resnet{depth}").variables


def test_stem_pads_by_three_and_pools_with_minus_infinity(start):
    """Without stages the features are the pooled stem; negative maps tell -inf from 0."""
    model = ResNet(num_classes=0, stage_sizes=(), width=4, act=lambda x: x - 9)
    x = np.random.default_rng(0).normal(size=(1, 12, 12, 2)).astype(np.float32)
    variables = start(model, x)
    kernel = variables["params"]["stem"]["conv"]["kernel"]
    variables["params"]["stem"]["norm"] = {"scale": np.ones(4), "bias": np.zeros(4)}
    variables["batch_stats"]["stem"]["norm"] = {"mean": np.zeros(4), "var": np.ones(4)}
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
    stem = np.einsum("nhwcij,ijco->nhwo", windows[:, ::2, ::2], kernel) - 9
    assert stem.shape == (1, 6, 6, 4)
    padded = np.pad(stem, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    pooled = windows[:, ::2, ::2].max((-1, -2))
    assert (stem < 0).all()
    np.testing.assert_allclose(model.apply(variables, x), pooled.mean((1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_convolutions_start_from_he_fan_out_untruncated():
    model = imagenet_resnet(18, stage_sizes=(1, 1, 1))
    params = jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))["params"]
    kernel = params["stage3"]["block1"]["conv1"]["kernel"]  # 3x3, 128 to 256
    std = np.sqrt(2 / (9 * 256))
    np.testing.assert_allclose(kernel.std(), std, rtol=0.01)
    assert np.abs(kernel).max() > 4 * std
    assert "bias" not in params["stem"]["conv"]


def test_bottleneck_inside_a_checkpointed_constructor():
    """`nn.remat(Bottleneck)` is a constructor like any other and keeps the parameter tree."""
    model = partial(imagenet_resnet, 50, stage_sizes=(1, 1), width=8)
    assert shapes(model(block=nn.remat(Bottleneck))) == shapes(model())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imagenet_resnet(20), "no ResNet of depth 20"),
        (lambda: cifar_resnet(21), "6n"),
        (lambda: cifar_resnet(2), "6n"),
        (
            lambda: shapes(imagenet_resnet(18, shortcut="D")),
            "no shortcut 'D': choose one of A, B, C, average, none",
        ),
        (
            lambda: shapes(imagenet_resnet(18, shortcut="none", zero_init_last=True)),
            "nothing can be learnt",
        ),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()
