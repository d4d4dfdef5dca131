"""Ladder networks against their equations in NumPy, row by row."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.models.ladder_conv import CONV_LARGE, Row, smallest_images

WIDTHS = (12, 7, 6, 3)  # input 2x2x3, two hidden layers, classes
DENOISING = (0.7, 0.4, 0.5, 0.3)
EPSILON = 1e-10
LABELLED = np.arange(9) % 3 == 0


def small(**fields):
    defaults = {"num_classes": 3, "hidden_features": WIDTHS[1:-1], "noise": 0.0, "decoder": True}
    return create_model("ladder_mnist_mlp", **{**defaults, "denoising": DENOISING, **fields})


def small_conv(**fields):
    stages = ((Row(4), Row(4, padding=2)), (Row(6), Row(5, kernel_size=1)))
    defaults = {"num_classes": 3, "stages": stages, "noise": 0.0, "decoder": True}
    return create_model("ladder_conv_large_gamma", **{**defaults, **fields})


def in_float64(model):
    return model.clone(dtype=jnp.float64, param_dtype=jnp.float64, norm_epsilon=EPSILON)


def images(size=2):
    return np.random.default_rng(5).normal(size=(len(LABELLED), size, size, 3)).astype(np.float32)


def train(model, variables, x, labelled=None, key=0):
    rngs = {"dropout": jax.random.key(key)}
    apply = partial(model.apply, train=True, mutable=["batch_stats", "aux"])
    return jax.jit(apply)(variables, x, labelled=labelled, rngs=rngs)


def normalized(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def encode(params, x):
    """z of each layer, then the means and deviations, then the logits, of rows of one kind."""
    zs, means, stds, h = [x], [0.0], [1.0], x
    for name in ("fc1", "fc2", "classifier"):
        layer = params[name]
        a = h @ layer["linear"]["kernel"]
        means.append(a.mean(0))
        stds.append(np.sqrt(a.var(0) + EPSILON))
        zs.append((a - means[-1]) / stds[-1])
        h = zs[-1] + layer["bias"]
        h = h * layer["scale"] if name == "classifier" else np.maximum(h, 0)
    return zs, means, stds, h


def costs(params, x):
    """The unlabelled rows' costs, for each layer [rows]."""
    zs, means, stds, logits = encode(params, x)
    e = np.exp(logits)
    u = e / e.sum(1, keepdims=True)
    found = {}
    for i in (3, 2, 1, 0):
        u = normalized(u)
        a = params["decoder"][f"combine{i}"]
        mu = a["a1"] * sigmoid(a["a2"] * u + a["a3"]) + a["a4"] * u + a["a5"]
        v = a["a6"] * sigmoid(a["a7"] * u + a["a8"]) + a["a9"] * u + a["a10"]
        estimate = (zs[i] - mu) * v + mu
        error = (estimate - means[i]) / stds[i] - zs[i]
        found[i] = DENOISING[i] * (error**2).sum(1) / WIDTHS[i]
        if i:
            u = estimate @ params["decoder"][f"linear{i}"]["kernel"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [None, LABELLED], ids=["all alike", "a third labelled"])
def test_costs_and_logits_are_those_of_the_equations(labelled, start):
    with jax.enable_x64(True):
        model, x = in_float64(small()), images().astype(np.float64)
        variables = start(model, x)
        logits, state = jax.device_get(train(model, variables, x, labelled))
    rows, params = x.reshape(len(x), -1), variables["params"]
    free = np.ones(len(x), bool) if labelled is None else ~labelled
    expected = np.zeros((len(x), WIDTHS[-1]))
    expected[free] = encode(params, rows[free])[-1]
    if labelled is not None:
        expected[labelled] = encode(params, rows[labelled])[-1]
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)

    (cost,) = jax.tree.leaves(state["aux"])
    assert cost.shape == (len(x),)
    by_layer = costs(params, rows[free])
    total = sum(by_layer.values())
    assert all(layer.mean() > 1e-3 * total.mean() for layer in by_layer.values())
    np.testing.assert_allclose(cost[free] * free.mean(), total, rtol=1e-9)
    np.testing.assert_allclose(cost.mean(), total.mean(), rtol=1e-9)  # over unlabelled images
    assert not np.any(cost[~free])

    a = rows[free] @ params["fc1"]["linear"]["kernel"]
    before, after = (v["batch_stats"]["fc1"]["norm"] for v in (variables, state))
    for key, value in (("mean", a.mean(0)), ("var", a.var(0))):
        np.testing.assert_allclose(after[key], 0.9 * before[key] + 0.1 * value, rtol=1e-9)


def test_the_top_alone_is_the_gamma_model(start):
    full = small()
    gamma = small(denoising=(0, 0, 0, DENOISING[3]))
    with jax.enable_x64(True):
        full, gamma = in_float64(full), in_float64(gamma)
        x = images().astype(np.float64)
        variables = start(full, x)
        top = {"combine3": variables["params"]["decoder"]["combine3"]}
        params = {**variables["params"], "decoder": top}
        shapes = jax.eval_shape(gamma.init, jax.random.key(0), x)
        assert jax.tree.structure(shapes["params"]) == jax.tree.structure(params)
        _, state = train(gamma, {**variables, "params": params}, x)
    expected = costs(variables["params"], x.reshape(len(x), -1))[3]
    np.testing.assert_allclose(state["aux"]["denoising"], expected, rtol=1e-9)


@pytest.mark.slow
def test_the_cost_of_the_convolutional_one_is_that_of_its_top(start):
    with jax.enable_x64(True):
        model, x = in_float64(small_conv()), images(12).astype(np.float64)
        variables = start(model, x)
        keep = {"capture_intermediates": lambda module, _: module.name == "conv"}
        _, state = model.apply(
            variables, x, train=True, mutable=["batch_stats", "aux", "intermediates"], **keep
        )
    a = np.asarray(state["intermediates"]["classifier"]["conv"]["__call__"][0]).mean((1, 2))
    mean, std = a.mean(0), np.sqrt(a.var(0) + EPSILON)
    z = (a - mean) / std
    e = np.exp(z + variables["params"]["classifier"]["mean"]["bias"])
    u = normalized(e / e.sum(1, keepdims=True))
    p = variables["params"]["decoder"]["combine0"]
    mu = p["a1"] * sigmoid(p["a2"] * u + p["a3"]) + p["a4"] * u + p["a5"]
    v = p["a6"] * sigmoid(p["a7"] * u + p["a8"]) + p["a9"] * u + p["a10"]
    error = ((z - mu) * v + mu - mean) / std - z
    np.testing.assert_allclose(state["aux"]["denoising"], 4 * (error**2).mean(1), rtol=1e-9)


def gradients(model, variables, x, labelled=LABELLED):
    def loss(params):
        logits, state = train(model, {**variables, "params": params}, x, labelled)
        cost = sum(leaf.mean() for leaf in jax.tree.leaves(state.get("aux", {})))
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0] * labelled) + cost

    return jax.jit(jax.grad(loss))(variables["params"])


CONV_IS_SLOW = pytest.mark.parametrize(
    "make", [small, pytest.param(small_conv, marks=pytest.mark.exhaustive)]
)


@pytest.mark.slow
@CONV_IS_SLOW
def test_gradients_are_finite_and_reach_every_parameter(make, start):
    model, x = make(noise=0.3), images(6)
    variables = start(model, x)
    grads = gradients(model, variables, x)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(grads))


@pytest.mark.slow
def test_without_costs_the_gradients_are_the_plain_networks(start):
    x = images()
    variables = start(small(), x)
    body = {name: leaf for name, leaf in variables["params"].items() if name != "decoder"}
    variables = {**variables, "params": body}
    of_zero = gradients(small(noise=0.3, denoising=(0.0,) * 4), variables, x)
    plain = gradients(small(noise=0.3, decoder=False), variables, x)
    chex.assert_trees_all_equal(of_zero, plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [pytest.param(True, marks=pytest.mark.exhaustive), False],
    ids=["labelled only", "unlabelled only"],
)
def test_rows_of_one_kind_alone_are_safe(kind, start):
    model, x = small(noise=0.3), images()
    variables = start(model, x)
    labelled = np.full(len(x), kind)
    (logits, state), (alike, like) = (train(model, variables, x, rows) for rows in (labelled, None))
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(logits, alike)
    jax.tree.map(close, state["batch_stats"], like["batch_stats"])
    expected = 0 * like["aux"]["denoising"] if kind else like["aux"]["denoising"]
    close(state["aux"]["denoising"], expected)
    grads = gradients(model, variables, x, labelled)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.slow
def test_constant_units_are_not_amplified_and_a_single_row_is_safe(start):
    x = images()
    model = small()
    variables = start(model, x)
    logits, _ = train(model, variables, np.broadcast_to(100 + x[:1], x.shape))
    head = variables["params"]["classifier"]
    expected = np.broadcast_to(head["scale"] * head["bias"], logits.shape)
    np.testing.assert_allclose(logits, expected, atol=0.05)

    one = np.arange(len(x)) == 0
    for labelled in (one, ~one):
        found = train(model, variables, x, labelled)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    grads = gradients(model, variables, x, one)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.slow
@CONV_IS_SLOW
def test_noise_is_in_training_alone_and_comes_from_the_rng(make, start):
    model, x = make(noise=0.3), images(6)
    variables = start(model, x)
    outputs = [train(model, variables, x, key=key) for key in (0, 0, 1)]
    logits = [logits for logits, _ in outputs]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert np.abs(logits[0] - logits[2]).max() > 0.1
    # The clean pass, hence what is averaged, does not depend on it.
    first, last = outputs[0][1]["batch_stats"], outputs[2][1]["batch_stats"]
    chex.assert_trees_all_equal(first, last)

    quiet = make(noise=0.0, decoder=False)
    body = {name: leaf for name, leaf in variables["params"].items() if name != "decoder"}
    evaluate = jax.jit(partial(model.apply, mutable=["aux"]))
    evaluated, state = evaluate(variables, x, labelled=LABELLED)
    assert not state
    plain = jax.jit(quiet.apply)({**variables, "params": body}, x)
    np.testing.assert_array_equal(evaluated, plain)


@pytest.mark.slow
def test_noise_has_its_deviation_on_the_input_and_after_every_norm(start):
    x = np.zeros((4000, 2, 2, 3), np.float32)
    model = small(noise=0.3, decoder=False, act=lambda x: x)
    variables = start(model, x)
    params = jax.tree.map(np.zeros_like, variables["params"])
    params["classifier"]["scale"] += 1
    logits, _ = train(model, {**variables, "params": params}, x)
    np.testing.assert_allclose(np.std(logits, 0), 0.3, rtol=0.1)  # of the last norm alone
    params["fc1"]["linear"]["kernel"][:, 0] = 1
    keep = {"capture_intermediates": lambda module, _: module.name == "linear"}
    mutable = ["batch_stats", "intermediates"]
    rngs = {"dropout": jax.random.key(0)}
    variables = {**variables, "params": params}
    _, state = model.apply(variables, x, train=True, mutable=mutable, rngs=rngs, **keep)
    clean, noisy = state["intermediates"]["fc1"]["linear"]["__call__"]
    assert not np.any(clean)
    np.testing.assert_allclose(np.std(noisy[:, 0]), 0.3 * np.sqrt(12), rtol=0.1)


@pytest.mark.slow
def test_statistics_over_devices_are_those_of_the_whole_batch(start):
    x, labelled = images(4)[:8], np.arange(8) % 2 == 0
    model = small(norm=partial(SplitBatchNorm, axis_name="batch"))
    variables = start(small(), x)
    halves = (x.reshape(2, 4, *x.shape[1:]), labelled.reshape(2, 4))
    run = jax.vmap(partial(train, model, variables), axis_name="batch")
    logits, state = run(*halves)
    expected, whole = train(small(), variables, x, labelled)
    np.testing.assert_allclose(logits.reshape(8, -1), expected, rtol=1e-3, atol=1e-4)
    cost = state["aux"]["denoising"].reshape(8)
    np.testing.assert_allclose(cost, whole["aux"]["denoising"], rtol=1e-3, atol=1e-4)


def test_sizes_of_the_large_convolutional_one(start):
    model = create_model("ladder_conv_large_gamma")
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    keep = {"capture_intermediates": True, "mutable": ["intermediates"]}
    _, state = jax.eval_shape(partial(model.apply, **keep), variables, x)
    sides = [
        state["intermediates"][f"stage{i + 1}"][f"conv{j + 1}"]["__call__"][0].shape[1]
        for i, rows in enumerate(CONV_LARGE)
        for j in range(len(rows))
    ]
    assert sides == [30, 32, 34, 15, 17, 15, 6, 6]
    assert smallest_images(CONV_LARGE) == 11


@pytest.mark.parametrize(
    ("fields", "labelled", "message"),
    [
        ({"denoising": (1.0, 2.0)}, None, "give 4 numbers, none below 0"),
        ({"denoising": (1.0, 1.0, 1.0, -1.0)}, None, "none below 0"),
        ({"num_classes": 0}, None, "starts from the classes"),
        ({}, np.ones(3, bool), "one bool for each of the 9 images"),
        ({}, np.ones(9, np.int32), "type int32"),
    ],
)
def test_what_does_not_fit_says_so(fields, labelled, message):
    model = small(**fields)
    init = partial(model.init, train=True, labelled=labelled)
    with pytest.raises(UserError, match=message) as error:
        jax.eval_shape(init, jax.random.key(0), images())
    assert "\n" not in str(error.value)
