import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.highway import Highway, HighwayMLP, HighwayUnit


def dense(features):
    return partial(nn.Dense, features)


def conv(features):
    return partial(nn.Conv, features, (3, 3), padding=1)


def scalars(model, shape):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(("layer", "shape"), [(dense(6), (4, 6)), (conv(6), (2, 5, 5, 6))])
def test_a_closed_gate_passes_the_input_and_an_open_one_the_plain_layer(layer, shape, start):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    unit = HighwayUnit(layer, nn.relu)
    params = start(unit, x)["params"]

    def with_bias(bias):
        gate = {**params["gate"], "bias": np.full(6, bias, np.float32)}
        return unit.apply({"params": {**params, "gate": gate}}, x)

    plain = HighwayUnit(layer, nn.relu, highway=False)
    of_layer = plain.apply({"params": {"layer": params["layer"]}}, x)
    np.testing.assert_array_equal(with_bias(-1e4), x)
    np.testing.assert_array_equal(with_bias(1e4), of_layer)
    t = nn.sigmoid(layer().apply({"params": params["gate"]}, x))
    np.testing.assert_allclose(
        unit.apply({"params": params}, x), of_layer * t + x * (1 - t), rtol=1e-5, atol=1e-6
    )


@pytest.mark.exhaustive
def test_gates_start_at_their_bias():
    x = jnp.zeros((1, 8, 8, 3))
    few = {"stage_sizes": (1, 1, 1), "stage_features": (4, 4, 4)}
    for model, bias in (
        (HighwayMLP(depth=3, width=8), -2),
        (HighwayMLP(depth=3, width=8, gate_bias=-7.0), -7),
        (create_model("highway_mnist_w16", **few), -1),
        (create_model("highway_cifar10", **few), -2),
    ):
        params = model.init(jax.random.key(0), x)["params"]
        blocks = [v for k, v in params["stage1"].items() if k.startswith("block")]
        assert blocks
        for block in blocks:
            np.testing.assert_array_equal(block["gate"]["bias"], bias)
            np.testing.assert_array_equal(block["layer"]["bias"], 0)


@pytest.mark.parametrize(
    ("depth", "plain"), [(10, 102_463), (20, 153_583), (50, 306_943), (100, 562_543)]
)
def test_plain_twins_of_the_study_of_depth(depth, plain):
    assert scalars(create_model(f"highway_fc{depth}", highway=False), (28, 28, 1)) == plain


def test_any_depth_with_or_without_gates():
    for depth in (1, 2, 37):
        hidden = 784 * 50 + 50 + (depth - 1) * 2 * (50 * 50 + 50)
        assert scalars(HighwayMLP(depth=depth), (28, 28, 1)) == hidden + 510
        hidden = 784 * 71 + 71 + (depth - 1) * (71 * 71 + 71)
        assert scalars(HighwayMLP(depth=depth, highway=False), (28, 28, 1)) == hidden + 720
    assert scalars(HighwayMLP(depth=2, width=9, highway=False), (2, 2, 1)) == 45 + 90 + 100


def test_plain_twins_of_the_convolutional_networks():
    unit = 9 * 16 * 16 + 16
    w16 = 5 * 5 * 16 + 16 + 8 * unit + 144 * 10 + 10
    assert scalars(create_model("highway_mnist_w16", highway=False), (28, 28, 1)) == w16
    gates = sum(n * (9 * c * c + c) for n, c in ((4, 32), (5, 80), (5, 128)))
    plain = scalars(create_model("highway_cifar10", highway=False), (32, 32, 3))
    assert plain == 2_256_838 - gates


@pytest.mark.slow
def test_gradients_reach_the_first_of_fifty_layers():
    x = np.random.default_rng(0).normal(size=(16, 28, 28, 1)).astype(np.float32)
    labels = np.arange(16) % 10

    def norms(model):
        """Of the gradients of the first layer's weights and of the classifier's, at the start."""
        params = model.init(jax.random.key(0), x)["params"]

        def loss(params):
            logits = jax.nn.log_softmax(model.apply({"params": params}, x))
            return -jnp.mean(logits[np.arange(16), labels])

        grads = jax.grad(loss)(params)  # to compile fifty layers would take minutes
        first, last = grads["stage1"]["first"], grads["classifier"]
        return [float(jnp.linalg.norm(layer["kernel"])) for layer in (first, last)]

    first, last = norms(create_model("highway_fc50"))
    assert first > 0.01 * last > 0
    plain, _ = norms(create_model("highway_fc50", highway=False))
    assert plain < 1e-4 * first


@pytest.mark.parametrize(
    ("name", "size", "sides", "widths", "plain_layers"),
    [
        ("highway_mnist_w16", 28, (24, 12, 6), (16, 16, 16), (True, False, False)),
        ("highway_cifar10", 32, (32, 16, 8), (32, 80, 128), (True, True, True)),
    ],
)
def test_stages_of_the_released_networks(name, size, sides, widths, plain_layers):
    model = create_model(name)
    x = jnp.zeros((1, size, size, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    apply = partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    state = jax.eval_shape(apply, variables, x)[1]["intermediates"]
    for i, (side, width) in enumerate(zip(sides, widths, strict=True), start=1):
        assert state[f"stage{i}"]["__call__"][0].shape == (1, side, side, width)
        assert ("first" in state[f"stage{i}"]) == plain_layers[i - 1]
    head = variables["params"]["classifier"]["kernel"].shape
    assert head == ((3 * 3 * 16, 10) if "mnist" in name else (100, 10))


def test_dropout_on_the_image_between_the_stages_and_before_the_classifier():
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            assert not context.module.deterministic
            seen.append((context.module.rate, args[0].shape[1:]))
        return call(*args, **kwargs)

    model, x = create_model("highway_mnist_w16"), jnp.zeros((2, 28, 28, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    rngs = {"dropout": jax.random.key(0)}
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda v: model.apply(v, x, train=True, rngs=rngs), variables)
    shapes = [(28, 28, 1), (12, 12, 16), (6, 6, 16), (144,)]
    assert seen == list(zip((0.2, 0.3, 0.4, 0.5), shapes, strict=True))
    assert create_model("highway_cifar100").dropout_rates == (0.2,) * 4


@pytest.mark.parametrize(
    ("fields", "size"),
    [({}, 1), ({"pool_sizes": (3, 3)}, 4), ({"pool_sizes": (3, 3, 2), "first_padding": 0}, 6)],
)
def test_smallest_image(fields, size):
    model = Highway(stage_sizes=(1, 1, 1), stage_features=(4, 4, 4), **fields)
    images = [jnp.zeros((1, side, side, 3)) for side in (size, size - 1)]
    logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images[0])
    assert logits.shape == (1, 10)
    with pytest.raises(UserError, match=f"{size}x{size} or larger"):
        jax.eval_shape(model.init, jax.random.key(0), images[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HighwayMLP(depth=0), "depth=0"),
        (lambda: HighwayMLP(width=0), "width=0"),
        (lambda: Highway(stage_features=(8, 8)), r"stage_features=\(8, 8\).*3 stages"),
        (lambda: Highway(dropout_rates=(0.2,)), "dropout_rates"),
        (lambda: Highway(pool_sizes=(2, 2, 2, 2)), "pool_sizes"),
        (lambda: Highway(first_kernel_size=4), "first_kernel_size=4 is even"),
        (lambda: HighwayUnit(dense(5), nn.relu), "keeps the shape"),
    ],
)
def test_what_does_not_fit_says_so(make, message):
    with pytest.raises(UserError, match=message) as error:
        jax.eval_shape(make().init, jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
    assert "\n" not in str(error.value)
