"""Layers of a network without what comes behind them."""

import doctest
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn import feature_extractor
from jaxcnn.analysis import feature_extractor as module_of
from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.errors import UserError
from tests.interop.small import filled
from tests.models.test_contracts import SMALL, build, images

GATE = {"lenet5", "vgg"}
SLOW = {"cifar_resnet", "preact_resnet", "densenet", "mobilenet", "googlenet", "nin", "highway"}


def mark(family):
    marks = [] if family in GATE else pytest.mark.slow if family in SLOW else pytest.mark.exhaustive
    return pytest.param(family, marks=marks)


class Plain(nn.Module):
    """3x3, BN, ReLU, pool, the same convolution twice, dropout, a dense layer on all pixels."""

    features: int = 4

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(self.features, (3, 3), name="conv1")(x)
        x = nn.relu(nn.BatchNorm(not train, momentum=0.5, name="norm1")(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        shared = nn.Conv(self.features, (3, 3), name="conv2")
        x = nn.Dropout(0.5, deterministic=not train, name="drop")(shared(nn.tanh(shared(x))))
        x = nn.BatchNorm(not train, name="norm2")(x)
        return nn.Dense(3, name="classifier")(x.reshape(len(x), -1))


@pytest.fixture(scope="module")
def plain():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    return Plain(), start(Plain(), x), x


def start(model, x):
    return filled(jax.eval_shape(model.init, jax.random.key(0), x))


def captured(model, variables, x, **mode):
    """Outputs of all modules, as Flax captures them."""
    return captured_with_state(model, variables, x, **mode)[0]


def captured_with_state(model, variables, x, **mode):
    kept = {*mode.pop("mutable", ()), "intermediates"}
    apply = partial(model.apply, capture_intermediates=True, mutable=kept, **mode)
    state = jax.jit(apply)(variables, x)[1]
    found = traverse_util.flatten_dict(state["intermediates"])
    outputs = {
        "/".join(path[:-1]) + (f"#{number + 1}" if number else ""): one
        for path, calls in found.items()
        for number, one in enumerate(calls)
        if len(path) > 1 and isinstance(one, jax.Array)
    }
    return outputs, state


@pytest.mark.slow
@pytest.mark.parametrize("family", [*map(mark, SMALL)])
def test_modules_of_every_family_put_out_what_flax_captures(family):
    model, x = build(family), images(family, batch=1)
    variables = start(model, x)
    wanted = captured(model, variables, x)
    extract = feature_extractor(model, [*wanted])
    found = extract(variables, x)
    assert list(found) == list(wanted)
    chex.assert_trees_all_close(found, wanted, rtol=1e-5, atol=1e-5)
    infos = {one.name: (one.channels, one.size) for one in extract.feature_info(x.shape[1:])}
    assert infos == {
        name: (one.shape[-1], one.shape[1:3] if one.ndim == 4 else ())
        for name, one in wanted.items()
    }


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_layers_have_the_dtype_of_the_network(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        kept = jnp.float32 if dtype == jnp.bfloat16 else dtype
        model = build("cifar_resnet", dtype=dtype, param_dtype=kept)
        x = jnp.ones((1, 8, 8, 3), kept)
        variables = start(model, x)
        found = feature_extractor(model, "stage1")(variables, x)["stage1"]
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, captured(model, variables, x)["stage1"])


def test_operations_have_the_names_of_the_trace(plain):
    model, variables, x = plain
    found = feature_extractor(model, ["relu", "max_pool", "tanh", "conv2", "conv2#2"])(variables, x)
    np.testing.assert_allclose(found["max_pool"], nn.max_pool(found["relu"], (2, 2), (2, 2)))
    np.testing.assert_allclose(found["tanh"], nn.tanh(found["conv2"]), rtol=1e-6)
    conv2 = jax.jit(nn.Conv(4, (3, 3)).apply)
    expected = conv2({"params": variables["params"]["conv2"]}, found["tanh"])
    np.testing.assert_allclose(found["conv2#2"], expected, rtol=1e-5, atol=1e-6)


def test_by_default_the_last_maps_of_every_stride():
    """Names of modules where there are such; ReLU of the stem in front of its pool."""
    model = build("resnet", num_classes=5)
    infos = feature_extractor(model).feature_info((32, 32, 3))
    assert [(one.name, one.channels, one.stride, one.size) for one in infos] == [
        ("stem", 8, 2, (16, 16)),
        ("stage1", 32, 4, (8, 8)),
        ("stage2", 64, 8, (4, 4)),
    ]
    names = [one.name for one in feature_extractor(build("nin")).feature_info((16, 16, 3))]
    assert names == ["stage1", "stage2"]  # not the maps of the classes


def test_branches_are_no_stages():
    """A strided branch of a fork has maps of the stride before it, which do not carry all."""

    class Fork(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (3, 3), name="a")(x)
            left = nn.Conv(3, (3, 3), 2, name="c")(nn.Conv(3, (1, 1), name="b")(x))
            x = jnp.concatenate([left, nn.max_pool(x, (2, 2), (2, 2))], -1)
            return x.mean((1, 2))

    infos = feature_extractor(Fork()).feature_info((8, 8, 3))
    assert [(one.name, one.stride) for one in infos] == [("a", 1), ("concatenate", 2)]


def test_a_stride_that_differs_down_and_across_is_a_pair():
    class Wide(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Conv(2, (3, 3), (1, 2), name="conv")(x).mean((1, 2))

    (info,) = feature_extractor(Wide(), "conv").feature_info((8, 8, 1))
    assert (info.stride, info.size) == ((1, 2), (8, 4))


def test_a_dense_layer_has_no_stride(plain):
    (info,) = feature_extractor(plain[0], "classifier").feature_info((8, 8, 3))
    assert (info.channels, info.stride, info.size) == (3, 0, ())


def test_patterns_match_part_by_part_in_the_order_of_computation(plain):
    def names(*layers):
        model = build("cifar_resnet")
        return [one.name for one in feature_extractor(model, layers).feature_info((8, 8, 3))]

    assert names("stage*") == ["stage1", "stage2"]
    assert names("stage2", "st*") == ["stage2", "stem", "stage1"]
    assert names("*/block1/conv?") == [
        f"stage{stage}/block1/conv{number}" for stage in (1, 2) for number in (1, 2)
    ]


@pytest.mark.parametrize("layer", ["stage11", "stage1?"])
def test_an_unknown_layer_is_answered_with_the_nearest(layer):
    extract = feature_extractor(build("cifar_resnet"), ["stage1", layer])
    with pytest.raises(UserError, match=r"no layer .*stag.*stage1"):
        extract.feature_info((8, 8, 3))


def flops(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_the_compiled_program_ends_at_the_last_layer():
    model, x = build("cifar_resnet"), images("cifar_resnet")
    variables = start(model, x)
    extract = feature_extractor(model, "stem")

    def stem(variables, x):
        parts = variables["params"]["stem"], variables["batch_stats"]["stem"]
        y = nn.Conv(8, (3, 3), padding=1, use_bias=False).apply({"params": parts[0]["conv"]}, x)
        norm = {"params": parts[0]["norm"], "batch_stats": parts[1]["norm"]}
        return nn.relu(nn.BatchNorm(True).apply(norm, y))

    alone, whole = flops(stem, variables, x), flops(model.apply, variables, x)
    for function in (extract, jax.vmap(extract, (None, 0))):  # inside of a user's program
        given = x if function is extract else x[None]
        assert 0.9 * alone < flops(function, variables, given) < 1.1 * alone < 0.3 * whole


def test_later_layers_do_not_run_in_a_program_that_is_not_compiled_either():
    ran = []

    class Telling(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (3, 3), name="first")(x)
            jax.debug.callback(lambda _: ran.append("between"), x.sum())
            x = nn.Conv(2, (3, 3), name="second")(x)
            x = x + jax.pure_callback(lambda x: ran.append("behind") or x, x, x)
            return x.mean((1, 2))

    x = jnp.ones((1, 4, 4, 1))
    variables = start(Telling(), x)
    jax.block_until_ready(feature_extractor(Telling(), "second")(variables, x))
    with jax.disable_jit():
        feature_extractor(Telling(), "second")(variables, x)
    assert "behind" not in ran


def test_images_may_have_another_size_than_dense_layers_behind_need(plain):
    model, variables, x = plain
    larger = jnp.tile(x, (1, 2, 2, 1))
    extract = feature_extractor(model, ["conv1", "max_pool"])
    assert extract(variables, larger)["max_pool"].shape == (2, 8, 8, 4)
    np.testing.assert_allclose(
        extract(variables, larger)["conv1"][:, 1:7, 1:7],
        extract(variables, x)["conv1"][:, 1:7, 1:7],
        rtol=1e-5,
        atol=1e-6,
    )
    with pytest.raises(UserError, match=r"classifier/kernel has the shape \(64, 3\).*\(256, 3\)"):
        feature_extractor(model, "classifier")(variables, larger)


def test_only_the_variables_of_the_layers_are_needed(plain):
    model, variables, x = plain
    few = {
        "params": {name: variables["params"][name] for name in ("conv1", "norm1")},
        "batch_stats": {"norm1": variables["batch_stats"]["norm1"]},
    }
    extract = feature_extractor(model, "relu")
    np.testing.assert_array_equal(extract(few, x)["relu"], extract(variables, x)["relu"])
    del few["params"]["norm1"]
    with pytest.raises(UserError, match="need the variable 'params/norm1/"):
        extract(few, x)
    made = extract.init(jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes(made["params"]["conv1"], variables["params"]["conv1"])
    assert {*made["params"]} == {"conv1", "norm1"}


@pytest.mark.slow
def test_the_gradient_of_a_perceptual_loss():
    """Against the same layers written out, and against finite differences, in float64."""
    with jax.enable_x64(True):
        fields = {"stage_sizes": (2, 1), "norm": None}
        model = build("vgg", dtype=jnp.float64, param_dtype=jnp.float64, **fields)
        x, y = jax.random.normal(jax.random.key(1), (2, 1, 12, 12, 3), jnp.float64)
        variables = start(model, jnp.zeros((1, 16, 16, 3)))
        extract = feature_extractor(model, ["stage1/relu_2", "stage2/relu"])

        @jax.jit
        def loss(x):
            a, b = extract(variables, x), extract(variables, y)
            return sum(jnp.mean((a[name] - b[name]) ** 2) for name in a)

        def convolve(stage, number, x):
            params = variables["params"][f"stage{stage}"][f"conv{number}"]
            return nn.relu(nn.Conv(params["bias"].size, (3, 3)).apply({"params": params}, x))

        def layers(x):
            first = convolve(1, 2, convolve(1, 1, x))
            return first, convolve(2, 1, nn.max_pool(first, (2, 2), (2, 2)))

        def by_hand(x):
            pairs = zip(layers(x), layers(y), strict=True)
            return sum(jnp.mean((a - b) ** 2) for a, b in pairs)

        found = jax.grad(loss)(x)
        np.testing.assert_allclose(found, jax.jit(jax.grad(by_hand))(x), rtol=1e-10, atol=1e-14)
        step = 1e-5 * jax.random.normal(jax.random.key(2), x.shape)
        difference = (loss(x + step) - loss(x - step)) / 2
        np.testing.assert_allclose(jnp.vdot(found, step), difference, rtol=1e-6)


@pytest.mark.slow
def test_vmap_over_images_and_over_variables(plain):
    model, variables, x = plain
    extract = feature_extractor(model, ["norm2"])
    pairs = jnp.stack([x, 2 * x])
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), variables)
    found = jax.vmap(extract)(many, pairs)["norm2"]
    for number in range(2):
        one = jax.tree.map(lambda leaf, number=number: leaf[number], many)
        expected = extract(one, pairs[number])["norm2"]
        np.testing.assert_allclose(found[number], expected, rtol=1e-4, atol=1e-5)


def test_training_mode_is_that_of_the_network(plain):
    """Batch statistics, their updates, and dropout by the same key."""
    model, variables, x = plain
    mode = {"train": True, "rngs": {"dropout": jax.random.key(3)}, "mutable": ["batch_stats"]}
    extract = feature_extractor(model, ["relu", "drop", "norm2"])
    found, changed = extract(variables, x, **mode)
    outputs, state = captured_with_state(model, variables, x, **mode)
    chex.assert_trees_all_close(found["drop"], outputs["drop"], rtol=1e-5, atol=1e-6)
    assert (found["drop"] == 0).mean() > 0.3
    chex.assert_trees_all_close(changed["batch_stats"], state["batch_stats"], rtol=1e-5, atol=1e-6)


def test_statistics_behind_the_last_layer_are_not_updated(plain):
    model, variables, x = plain
    mode = {"train": True, "mutable": ["batch_stats"]}
    _, changed = feature_extractor(model, "relu")(variables, x, **mode)
    before = variables["batch_stats"]
    chex.assert_trees_all_equal(changed["batch_stats"]["norm2"], before["norm2"])
    assert np.all(changed["batch_stats"]["norm1"]["mean"] != before["norm1"]["mean"])
    with pytest.raises(UserError, match="random numbers in training mode"):
        feature_extractor(model, "drop")(variables, x, **mode)


class Segmenter(nn.Module):
    """Somebody's network around a layer of ours."""

    extract: module_of.FeatureExtractor

    @nn.compact
    def __call__(self, images, train=False):
        maps = self.extract.module(name="body")(images, train=train)
        return nn.Conv(2, (1, 1), name="head")(maps["relu"])


@pytest.mark.slow
def test_as_a_submodule(plain):
    model, trained, x = plain
    network = Segmenter(feature_extractor(model, "relu"))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    body = {name: trained["params"][name] for name in ("conv1", "norm1")}
    chex.assert_trees_all_equal_shapes(variables["params"]["body"], body)

    params = {**variables["params"], "body": trained["params"]}  # the other layers do not matter
    loaded = {"params": params, "batch_stats": {"body": trained["batch_stats"]}}
    maps = feature_extractor(model, ["conv1", "relu"])(trained, x)
    head = variables["params"]["head"]
    expected = maps["relu"] @ head["kernel"][0, 0] + head["bias"].reshape(1, 1, 1, 2)
    outputs = jax.jit(network.apply)(loaded, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)

    train = partial(network.apply, train=True, mutable=["batch_stats"])
    changed = jax.jit(train)(loaded, x)[1]["batch_stats"]["body"]
    old = trained["batch_stats"]["norm1"]["mean"]
    expected = 0.5 * old + 0.5 * maps["conv1"].mean((0, 1, 2))
    np.testing.assert_allclose(changed["norm1"]["mean"], expected, rtol=1e-5, atol=1e-6)


def test_dropout_in_a_submodule_takes_the_keys_of_the_outer_one(plain):
    model, variables, x = plain

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return feature_extractor(model, "drop").module(name="body")(x, train)["drop"]

    inner = jax.tree.map(lambda leaf: leaf, variables)
    outer = {kind: {"body": tree} for kind, tree in inner.items()}

    @jax.jit
    def drop(key):
        mode = {"train": True, "mutable": ["batch_stats"]}
        return Outer().apply(outer, x, rngs={"dropout": key}, **mode)[0]

    first, again, other = (drop(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any((first == 0) != (other == 0))


@pytest.mark.slow
def test_a_network_bound_in_a_module_of_ones_own():
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            body = build("lenet", name="body")
            body(x)
            return feature_extractor(body, "c3")(body.variables, x)["c3"]

    x = images("lenet", batch=1)
    outputs, variables = jax.jit(Outer().init_with_output)(jax.random.key(0), x)
    inner = {"params": variables["params"]["body"]}
    expected = feature_extractor(build("lenet"), "c3")(inner, x)["c3"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_network_in_a_loop_has_its_units():
    model, x = build("cifar_resnet", stage_sizes=(4,), scan_units=True), jnp.ones((1, 8, 8, 3))
    variables = start(model, x)
    found = feature_extractor(model, "stage1/block3")(variables, x)["stage1/block3"]
    expected = captured(model.clone(scan_units=False), variables, x)["stage1/block3"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_names_are_those_of_the_trace(plain):
    nodes = {node.name for node in trace_shapes(plain[0], (8, 8, 3)).nodes}
    names = {one.name for one in feature_extractor(plain[0], ["*"]).feature_info((8, 8, 3))}
    assert nodes == names - {"drop"}  # a module that computes nothing in evaluation


def test_the_example_of_the_docstring():
    done = doctest.testmod(module_of)
    assert done.attempted
    assert not done.failed
