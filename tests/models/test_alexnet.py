import math
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
from jaxcnn.models.alexnet import CAFFE, full_windows
from jaxcnn.ops.lrn import local_response_norm

NARROW = {"features": (4, 8, 8, 8, 8), "hidden_features": (16, 8)}
LAYERS = ("stage1", "stage2", "stage3", "stage4", "stage5", "fc6", "fc7", "classifier")


def small(name="alexnet", **fields):
    return create_model(name, 5, **{**NARROW, **fields})


def shapes(model, size=64):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def captured(model, variables, x):
    """Returns what each submodule put out, and the logits."""
    logits, state = model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
    maps = {
        name: out["__call__"][0] for name, out in state["intermediates"].items() if name in LAYERS
    }
    return maps, logits


def leaves(params, kind):
    """Returns the kernels or biases by the name of their layer."""
    flat = flax.traverse_util.flatten_dict(params)
    return {path[0]: leaf for path, leaf in flat.items() if path[-1] == kind}


@pytest.mark.parametrize(
    ("name", "weights", "multiply_adds"),
    [
        (
            "alexnet",
            (34_848, 307_200, 884_736, 663_552, 442_368),
            (105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192),
        ),
        ("alexnet_one_tower", (34_848, 614_400, 884_736, 1_327_104, 884_736), None),
    ],
)
def test_cost_of_each_layer(name, weights, multiply_adds, trace):
    kernels = leaves(trace(name).variables["params"], "kernel")
    sizes = tuple(math.prod(kernels[layer].shape) for layer in LAYERS)
    assert sizes == (*weights, 37_748_736, 16_777_216, 4_096_000)
    if multiply_adds:
        pixels = (55**2, 27**2, 13**2, 13**2, 13**2)
        assert tuple(w * p for w, p in zip(weights, pixels, strict=True)) == multiply_adds


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("alexnet", (227, 224)),
        ("alexnet_one_tower", (227, 224)),
        ("alexnet_torchvision", (224,)),
        ("alexnet_owt", (224,)),
    ],
)
def test_maps_of_the_paper_at_both_sizes(name, sizes):
    for size in sizes:
        model, x = small(name), jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
        maps, _ = jax.eval_shape(partial(captured, model), shapes(model), x)
        assert [maps[f"stage{i}"].shape[1] for i in range(1, 6)] == [55, 27, 13, 13, 13]


def test_no_pixel_is_left_out_of_a_window():
    assert full_windows(227, 11, 4) == (0, 0)
    assert full_windows(224, 11, 4) == (1, 2)
    for length in range(64, 300):
        before, after = full_windows(length, 11, 4)
        assert (length + before + after - 11) % 4 == 0
        assert 0 <= before <= after <= before + 1 <= 2


@pytest.mark.slow
@pytest.mark.parametrize("lrn", [True, False])
def test_normalisation_stands_between_relu_and_pool(lrn, start):
    x = 30 * np.random.default_rng(0).normal(size=(2, 67, 67, 3)).astype(np.float32)
    model = small(lrn=lrn)
    variables = start(model, x)
    maps, _ = jax.jit(partial(captured, model))(variables, x)

    def pool(x):
        return nn.max_pool(x, (3, 3), (2, 2))

    def conv(number, x, groups=1):
        parameters = {"params": variables["params"][f"stage{number}"]["conv"]}
        size = parameters["params"]["kernel"].shape[0]
        return nn.relu(
            nn.Conv(8, (size, size), padding="SAME", feature_group_count=groups).apply(
                parameters, x
            )
        )

    normalise = local_response_norm if lrn else lambda x: x
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(maps["stage2"], conv(2, pool(normalise(maps["stage1"])), groups=2))
    close(maps["stage3"], conv(3, pool(normalise(maps["stage2"]))))
    close(maps["stage4"], conv(4, maps["stage3"], groups=2))
    flat = jnp.broadcast_to(pool(maps["stage5"]), (2, 6, 6, 8)).reshape(2, -1)
    fc6 = nn.Dense(16).apply({"params": variables["params"]["fc6"]["dense"]}, flat)
    close(maps["fc6"], nn.relu(fc6))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("alexnet", ["dense", "Dropout_0", "dense", "Dropout_0", "classifier"]),
        ("alexnet_torchvision", ["Dropout_0", "dense", "Dropout_0", "dense", "classifier"]),
    ],
)
def test_dropout_after_or_before_the_hidden_layers(name, order):
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout | nn.Dense):
            seen.append(context.module.name)
        if isinstance(context.module, nn.Dropout):
            assert (context.module.rate, context.module.deterministic) == (0.5, False)
        return call(*args, **kwargs)

    model, x = small(name), jnp.ones((2, 64, 64, 3))
    variables = shapes(model)
    train = partial(model.apply, train=True)
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda v: train(v, x, rngs={"dropout": jax.random.key(0)}), variables)
    assert seen == order
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(train, variables, x)


def _normal(std):
    return lambda x, _: (std, 3 * std < np.abs(x).max() < 7 * std)


def _uniform(bound):
    def check(x, fan_in):
        limit = bound or fan_in**-0.5
        return limit / 3**0.5, 0.98 * limit < np.abs(x).max() <= limit

    return check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "kernel", "hidden_kernel", "bias"),
    [
        ("alexnet", {}, _normal(0.01), _normal(0.01), 1.0),
        ("alexnet", CAFFE, _normal(0.01), _normal(0.005), 0.1),
        ("alexnet_one_tower", {}, _uniform(0.05), _uniform(0.05), 0.0),
        ("alexnet_torchvision", {}, _uniform(None), _uniform(None), 0.0),
    ],
)
def test_start(name, fields, kernel, hidden_kernel, bias):
    wide = {"features": (32, 32, 32, 32, 32), "hidden_features": (64, 64)}
    model = create_model(name, 50, **wide, **fields)
    # The generator "rbg" compiles in no time.
    key = jax.random.key(0, impl="rbg")
    params = jax.jit(model.init)(key, jnp.zeros((1, 64, 64, 3)))["params"]
    for layer, x in leaves(params, "kernel").items():
        check = hidden_kernel if layer in ("fc6", "fc7") else kernel
        std, has_its_tails = check(x, math.prod(x.shape[:-1]))
        assert np.std(x) == pytest.approx(std, rel=0.05)
        assert has_its_tails
    for layer, x in leaves(params, "bias").items():
        raised = layer in ("stage2", "stage4", "stage5", "fc6", "fc7")
        np.testing.assert_array_equal(x, np.full(x.shape, bias if raised else 0, np.float32))


def test_fields_reach_other_networks():
    assert set(shapes(small())) == {"params"}
    variables = shapes(small(norm=BatchNorm, towers=4, pool_size=(2, 3), hidden_features=(6,)))
    kernels = {k: x.shape for k, x in leaves(variables["params"], "kernel").items()}
    assert kernels["stage1"] == (11, 11, 3, 4)
    assert kernels["stage2"] == (5, 5, 1, 8)
    assert kernels["stage3"] == (3, 3, 8, 8)
    assert kernels["stage5"] == (3, 3, 2, 8)
    assert kernels["fc6"] == (2 * 3 * 8, 6)
    assert kernels["classifier"] == (6, 5)
    assert "fc7" not in kernels
    for i in range(1, 6):
        assert set(variables["params"][f"stage{i}"]) == {"conv", "norm"}
        assert set(variables["params"][f"stage{i}"]["conv"]) == {"kernel", "bias"}
    assert set(variables["batch_stats"]) == {f"stage{i}" for i in range(1, 6)}


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 64), ("alexnet_torchvision", 63)])
def test_smallest_image(name, smallest):
    shapes(small(name), smallest)
    with pytest.raises(UserError, match=f"{smallest}x{smallest} or larger"):
        shapes(small(name), smallest - 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"features": (8, 8, 8)}, "five convolutions"),
    ],
)
def test_what_does_not_exist_says_so(fields, message):
    with pytest.raises(UserError, match=message):
        shapes(small(**fields))
