from functools import partial

import chex
import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.interop import from_torch, to_torch
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.dropout import Dropout
from jaxcnn.models.vgg import GLOROT, PAPER, imagenet_vgg
from jaxcnn.ops.lrn import local_response_norm

NARROW = {"stage_sizes": (1, 2), "stage_features": (8, 16), "hidden_features": (16, 8)}
# Sides of the kernels of each stage.
ONE, TWO, C, D, E = (3,), (3, 3), (3, 3, 1), (3, 3, 3), (3, 3, 3, 3)


def small(name="vgg11", **fields):
    return create_model(name, 5, **{**NARROW, **fields})


def shapes(model, size=32):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("vgg11", (ONE, ONE, TWO, TWO, TWO)),
        ("vgg11_lrn", (ONE, ONE, TWO, TWO, TWO)),
        ("vgg13", (TWO, TWO, TWO, TWO, TWO)),
        ("vgg16_1x1", (TWO, TWO, C, C, C)),
        ("vgg16", (TWO, TWO, D, D, D)),
        ("vgg19", (TWO, TWO, E, E, E)),
    ],
)
@pytest.mark.parametrize("suffix", ["", "_bn"])
def test_layers_of_the_papers_table(name, sides, suffix, trace):
    if name == "vgg11_lrn":
        suffix = ""  # it has no twin
    params = trace(name + suffix).variables["params"]
    widths = (64, 128, 256, 512, 512)
    for i, (stage_sides, width) in enumerate(zip(sides, widths, strict=True)):
        stage = params[f"stage{i + 1}"]
        convs = [stage[f"conv{j + 1}"] for j in range(len(stage_sides))]
        assert len(stage) == len(convs) * (2 if suffix else 1)
        assert tuple(conv["kernel"].shape[0] for conv in convs) == stage_sides
        assert {conv["kernel"].shape[3] for conv in convs} == {width}
        assert all(conv["bias"].shape == (width,) for conv in convs)
    dense = [params["fc6"]["dense"], params["fc7"]["dense"], params["classifier"]]
    expected = [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]
    assert [layer["kernel"].shape for layer in dense] == expected


@pytest.mark.parametrize("name", ["vgg11", "vgg11_lrn"])
def test_each_stage_is_pooled_and_only_the_first_normalised(name, start):
    x = 30 * np.random.default_rng(0).normal(size=(2, 14, 14, 3)).astype(np.float32)
    model = small(name)
    variables = start(model, x)
    capture = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.jit(capture)(variables, x)
    stage1, stage2, fc6 = (
        state["intermediates"][k]["__call__"][0] for k in ("stage1", "stage2", "fc6")
    )
    params = variables["params"]

    def pool(x):
        return nn.max_pool(x, (2, 2), (2, 2))

    def conv(parameters, x):
        features = parameters["bias"].size
        return nn.relu(nn.Conv(features, (3, 3), padding="SAME").apply({"params": parameters}, x))

    y = conv(params["stage1"]["conv1"], x)
    np.testing.assert_allclose(stage1, y, rtol=1e-4, atol=1e-4)
    y = pool(local_response_norm(y) if name == "vgg11_lrn" else y)
    y = conv(params["stage2"]["conv2"], conv(params["stage2"]["conv1"], y))
    np.testing.assert_allclose(stage2, y, rtol=1e-4, atol=1e-4)
    # Three pixels become seven bins, which overlap.
    y = np.asarray(pool(y))
    bins = [slice(i * 3 // 7, -(-(i + 1) * 3 // 7)) for i in range(7)]
    y = np.stack([np.stack([y[:, a, b].mean((1, 2)) for b in bins], 1) for a in bins], 1)
    y = y.reshape(2, -1) @ params["fc6"]["dense"]["kernel"] + params["fc6"]["dense"]["bias"][None]
    np.testing.assert_allclose(fc6, nn.relu(y), rtol=1e-4, atol=1e-4)


def test_dropout_follows_the_hidden_layers():
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            assert (context.module.rate, context.module.deterministic) == (0.5, False)
        if isinstance(context.module, nn.Dropout | nn.Dense):
            seen.append(type(context.module))
        return call(*args, **kwargs)

    model, x = small(), jnp.ones((2, 32, 32, 3))
    variables = shapes(model)
    train = partial(model.apply, train=True)
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda v: train(v, x, rngs={"dropout": jax.random.key(0)}), variables)
    assert seen == [nn.Dense, Dropout, nn.Dense, Dropout, nn.Dense]
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(train, variables, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernels", "conv_std", "dense_std"),
    [
        ({}, lambda k, i, o: (2 / (k * k * o)) ** 0.5, lambda i, o: 0.01),
        (PAPER, lambda k, i, o: 0.1, lambda i, o: 0.1),
        (
            GLOROT,
            lambda k, i, o: (2 / (k * k * (i + o))) ** 0.5,
            lambda i, o: (2 / (i + o)) ** 0.5,
        ),
    ],
)
def test_start(kernels, conv_std, dense_std):
    fields = {"stage_features": (64, 64), "hidden_features": (64, 64), "num_classes": 50}
    model = create_model("vgg16", **{**NARROW, **fields, **kernels})
    # The generator "rbg" compiles in no time.
    key = jax.random.key(0, impl="rbg")
    params = jax.jit(model.init)(key, jnp.zeros((1, 16, 16, 3)))["params"]
    for path, x in flax.traverse_util.flatten_dict(params).items():
        if path[-1] == "bias":
            np.testing.assert_array_equal(x, np.zeros_like(x))
        elif x.ndim == 4:
            assert np.std(x) == pytest.approx(conv_std(*x.shape[1:]), rel=0.1), path
        else:
            assert np.std(x) == pytest.approx(dense_std(*x.shape), rel=0.05), path


def test_fields_reach_other_networks():
    deep = shapes(create_model("vgg16", 5, stage_sizes=(1, 1, 1, 1, 1)))["params"]
    assert [len(deep[f"stage{i}"]) for i in range(1, 6)] == [1] * 5
    for_cifar = {"pool_size": (1, 1), "hidden_features": ()}
    variables = shapes(create_model("vgg11", 10, norm=BatchNorm, **for_cifar))
    params = variables["params"]
    assert set(params) == {*(f"stage{i}" for i in range(1, 6)), "classifier"}
    assert params["classifier"]["kernel"].shape == (512, 10)
    assert set(params["stage3"]) == {"conv1", "norm1", "conv2", "norm2"}
    assert set(variables["batch_stats"]) == {f"stage{i}" for i in range(1, 6)}
    assert set(shapes(small())) == {"params"}


@pytest.mark.parametrize("name", ["vgg11", "vgg19_bn"])
def test_smallest_image(name):
    shapes(create_model(name), 32)
    with pytest.raises(UserError, match="32x32 or larger"):
        shapes(create_model(name), 31)


def test_torchs_names_count_layers_and_timms_head_is_convolutional():
    small_fields = {"stage_sizes": (1, 2), "stage_features": (2, 3), "hidden_features": (4, 5)}
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        shapes(create_model("vgg11_bn", 6, **small_fields)),
    )
    states = {
        k: to_torch(variables, k, "vgg11_bn", **small_fields) for k in ("torchvision", "timm")
    }
    heads = {
        "torchvision": ["classifier.0", "classifier.3", "classifier.6"],
        "timm": ["pre_logits.fc1", "pre_logits.fc2", "head.fc"],
    }
    for library, state in states.items():
        weights = {key.removesuffix(".weight") for key in state if key.endswith(".weight")}
        layers = {f"features.{i}" for i in (0, 1, 4, 5, 7, 8)}
        assert weights == layers | set(heads[library])
        _, back = from_torch(state, library, "vgg11_bn", **small_fields)
        chex.assert_trees_all_equal(back, variables)
    assert states["timm"]["pre_logits.fc1.weight"].shape == (4, 3, 7, 7)
    assert states["timm"]["pre_logits.fc2.weight"].shape == (5, 4, 1, 1)
    for ours, theirs in zip(*heads.values(), strict=True):
        dense, conv = states["torchvision"][f"{ours}.weight"], states["timm"][f"{theirs}.weight"]
        np.testing.assert_array_equal(dense, conv.reshape(dense.shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imagenet_vgg(12), "no VGG of depth 12"),
        (lambda: shapes(small(stage_sizes=(1, 1, 1))), "one number for each stage"),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()
