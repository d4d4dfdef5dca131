from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm
from jaxcnn.ops.lrn import local_response_norm

NARROW = {"features": (4, 8, 8, 8, 8), "hidden_features": (16, 8)}
STAGES = [f"stage{i}" for i in range(1, 6)]


def small(name="zfnet", **fields):
    return create_model(name, 5, **{**NARROW, **fields})


def shapes(model, size=64):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def captured(model, variables, x):
    """Returns what each stage put out, and the logits."""
    logits, state = model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
    maps = {name: state["intermediates"][name]["__call__"][0] for name in (*STAGES, "fc6")}
    return maps, logits


@pytest.mark.parametrize(
    ("name", "sizes"), [("zfnet", [110, 26, 13, 13, 13]), ("zfnet_keras", [109, 27, 13, 13, 13])]
)
def test_maps_of_the_paper(name, sizes):
    model, x = small(name), jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    maps, _ = jax.eval_shape(partial(captured, model), shapes(model, 224), x)
    assert [maps[stage].shape[1] for stage in STAGES] == sizes


@pytest.mark.parametrize(
    ("name", "features"),
    [("zfnet", (96, 256, 384, 384, 256)), ("zfnet_wide", (96, 256, 512, 1024, 512))],
)
def test_kernels(name, features, trace):
    kernels = {
        k: v["conv"]["kernel"].shape
        for k, v in trace(name).variables["params"].items()
        if k in STAGES
    }
    inputs = (3, *features)
    sizes = (7, 5, 3, 3, 3)
    for i, stage in enumerate(STAGES):
        assert kernels[stage] == (sizes[i], sizes[i], inputs[i], features[i])


def convolve(variables, stage, x, **fields):
    kernel, bias = (variables["params"][stage]["conv"][k] for k in ("kernel", "bias"))
    conv = nn.Conv(kernel.shape[-1], kernel.shape[:2], **fields)
    return nn.relu(conv.apply({"params": {"kernel": kernel, "bias": bias}}, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "conv_pads", "pool_pad"), [("zfnet", (1, 0), 1), ("zfnet_keras", (0, "SAME"), 0)]
)
def test_pool_comes_before_the_normalisation(name, conv_pads, pool_pad, start):
    x = 30 * np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    model = small(name)
    variables = start(model, x)
    maps, _ = jax.jit(partial(captured, model))(variables, x)

    def pool(x, pad):
        pooled = nn.max_pool(x, (3, 3), (2, 2), ((pad, pad), (pad, pad)))
        return local_response_norm(pooled) if name == "zfnet" else pooled

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(maps["stage1"], convolve(variables, "stage1", x, strides=2, padding=conv_pads[0]))
    second = pool(maps["stage1"], pool_pad)
    close(maps["stage2"], convolve(variables, "stage2", second, strides=2, padding=conv_pads[1]))
    close(maps["stage3"], convolve(variables, "stage3", pool(maps["stage2"], pool_pad)))
    close(maps["stage5"], convolve(variables, "stage5", maps["stage4"]))
    last = nn.max_pool(maps["stage5"], (3, 3), (2, 2))
    flat = jnp.broadcast_to(last, (2, 6, 6, 8)).reshape(2, -1)  # one pixel, averaged to 6x6
    fc6 = nn.Dense(16).apply({"params": variables["params"]["fc6"]["dense"]}, flat)
    close(maps["fc6"], nn.relu(fc6))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "std", "tails"),
    [("zfnet", 0.01, (0.03, 0.07)), ("zfnet_keras", 0.05 / 3**0.5, (0.049, 0.05))],
)
def test_start(name, std, tails):
    wide = {"features": (32, 32, 32, 32, 32), "hidden_features": (64, 64)}
    model = create_model(name, 50, **wide)
    key = jax.random.key(0, impl="rbg")  # compiles in no time
    params = jax.jit(model.init)(key, jnp.zeros((1, 64, 64, 3)))["params"]
    for path, leaf in flax.traverse_util.flatten_dict(params).items():
        if path[-1] == "bias":
            assert not np.any(leaf)
        else:
            assert np.std(leaf) == pytest.approx(std, rel=0.05)
            assert tails[0] < np.abs(leaf).max() <= tails[1]


def test_fields_reach_other_networks():
    assert set(shapes(small())) == {"params"}
    variables = shapes(small(norm=BatchNorm, pool_size=(2, 3), hidden_features=(6,)))
    assert set(variables["batch_stats"]) == set(STAGES)
    assert variables["params"]["fc6"]["dense"]["kernel"].shape == (2 * 3 * 8, 6)
    assert "fc7" not in variables["params"]


def test_dropout_behind_both_hidden_layers():
    model, x = small(), jnp.ones((2, 64, 64, 3))
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(partial(model.apply, train=True), shapes(model), x)
    drawn = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            drawn.append((context.module.path[0], context.module.rate))
        return call(*args, **kwargs)

    with nn.intercept_methods(collect):
        train = partial(model.apply, train=True, rngs={"dropout": jax.random.key(0)})
        jax.eval_shape(train, shapes(model), x)
    assert dict(drawn) == {"fc6": 0.5, "fc7": 0.5}


@pytest.mark.parametrize(("name", "smallest"), [("zfnet", 53), ("zfnet_keras", 59)])
def test_smallest_image(name, smallest):
    shapes(small(name), smallest)
    with pytest.raises(UserError, match=f"{smallest}x{smallest} or larger"):
        shapes(small(name), smallest - 1)
    # One pixel less would leave nothing.
    last = smallest - 1
    for conv, pad, pool_pad in ((7, 1, 1), (5, 0, 1)) if name == "zfnet" else ((7, 0, 0),):
        last = (last + 2 * pad - conv) // 2 + 1
        last = (last + 2 * pool_pad - 3) // 2 + 1
    if name == "zfnet_keras":
        last = (-(-last // 2) - 3) // 2 + 1
    assert last < 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"features": (8, 8, 8)}, "five convolutions"), ({"padding": "pap"}, "'pap'.*paper")],
)
def test_what_does_not_exist_says_so(fields, message):
    with pytest.raises(UserError, match=message):
        shapes(small(**fields))
