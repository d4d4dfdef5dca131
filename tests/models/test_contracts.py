"""What every network promises, on the smallest member of each family."""

import re
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
from jaxcnn.layers import BatchNorm, Conv
from jaxcnn.layers.inception_blocks import MAX, Layer, fork
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.models import bn_inception, googlenet
from jaxcnn.models.ladder_conv import Row
from tests.marks import exhaustive

# name, the fields that make it small, the top-level submodules in the order of their use, and how
# often the activation is applied
SMALL = {
    "lenet": ("lenet5_modern", {}, ["c1", "c3", "c5", "f6", "classifier"], 4),
    "lenet5": (  # with ReLU, which the test of `act` looks for
        "lenet5_softmax",
        {"act": nn.relu},
        ["c1", "s2", "c3", "s4", "c5", "f6", "classifier"],
        6,
    ),
    "cifar_resnet": (
        "cifar_resnet20",
        {"stage_sizes": (1, 1), "width": 8},
        ["stem", "stage1", "stage2", "classifier"],
        5,
    ),
    "resnet": (
        "resnet50",
        {"stage_sizes": (1, 1), "width": 8},
        ["stem", "stage1", "stage2", "classifier"],
        7,
    ),
    "preact_resnet": (
        "resnet50_v2",
        {"stage_sizes": (1, 1), "width": 8},
        ["stem", "stage1", "stage2", "final_norm", "classifier"],
        7,
    ),
    "cifar_wide_resnet": (
        "wrn_16_8",
        {"stage_sizes": (1, 1), "width": 8},
        ["stem", "stage1", "stage2", "final_norm", "classifier"],
        5,
    ),
    "stochastic_depth": (
        "cifar_resnet110_sd",
        {"stage_sizes": (1, 1), "width": 8, "survival_probability": 1.0},
        ["stem", "stage1", "stage2", "classifier"],
        5,
    ),
    "resnext": (
        "resnext50_32x4d",
        {"stage_sizes": (1, 1), "width": 8, "cardinality": 2, "base_width": 32},
        ["stem", "stage1", "stage2", "classifier"],
        7,
    ),
    "cifar_densenet": (
        "densenet_40_12",
        {"stage_sizes": (2, 1), "growth_rate": 4},
        ["stem", "stage1", "transition1", "stage2", "final_norm", "classifier"],
        5,
    ),
    "densenet": (
        "densenet121",
        {"stage_sizes": (2, 1), "growth_rate": 4},
        ["stem", "stage1", "transition1", "stage2", "final_norm", "classifier"],
        9,
    ),
    "fractalnet": (
        "fractalnet_narrow_c2",
        {"stage_features": (8, 16), "dropout_rates": (0.0, 0.0), "drop_path_rate": 0.0},
        ["stage1", "stage2", "classifier"],
        6,
    ),
    "dfn": (
        "dfn_fuse3_d20",
        {"bases": ((2, 2, 2), (1, 0, 1)), "stage_sizes": (2, 1), "width": 8},
        ["stem", "stage1", "stage2", "classifier"],
        7,
    ),
    "dfn_mr": (
        "dfn_mr1",
        {"stage_sizes": (2, 1), "width": 8},
        ["stem", "stage1", "stage2", "classifier"],
        13,
    ),
    "mobilenet": (
        "mobilenet_v1_100",
        {"stage_sizes": (1, 1), "features": (8, 8, 16), "dropout_rate": 0.0},
        ["stem", "stage1", "stage2", "classifier"],
        5,
    ),
    "ladder": (
        "ladder_mnist_mlp",
        {"hidden_features": (16, 8), "noise": 0.0},
        ["fc1", "fc2", "classifier"],
        2,
    ),
    "ladder_conv": (
        "ladder_conv_large_gamma",
        {"stages": ((Row(8),), (Row(16),)), "noise": 0.0},
        ["stage1", "stage2", "classifier"],
        3,
    ),
    "alexnet": (
        "alexnet",
        {
            "features": (8, 8, 8, 8, 8),
            "norm": BatchNorm,
            "hidden_features": (16, 8),
            "dropout_rate": 0.0,
        },
        ["stage1", "stage2", "stage3", "stage4", "stage5", "fc6", "fc7", "classifier"],
        7,
    ),
    "zfnet": (
        "zfnet",
        {
            "features": (8, 8, 8, 8, 8),
            "norm": BatchNorm,
            "hidden_features": (16, 8),
            "dropout_rate": 0.0,
        },
        ["stage1", "stage2", "stage3", "stage4", "stage5", "fc6", "fc7", "classifier"],
        7,
    ),
    "vgg": (
        "vgg11_bn",
        {
            "stage_sizes": (1, 2),
            "stage_features": (8, 16),
            "pool_size": (2, 2),
            "hidden_features": (16, 8),
            "dropout_rate": 0.0,
        },
        ["stage1", "stage2", "fc6", "fc7", "classifier"],
        5,
    ),
    "nin": (  # whose logits are, without the last ReLU, a linear map of the features
        "nin_cifar10",
        {
            "features": ((8, 8, 8), (8, 8)),
            "kernel_sizes": (5, 3),
            "pools": ("max",),
            "dropout_rate": 0.0,
            "final_act": False,
        },
        ["stage1", "stage2", "classifier"],
        5,
    ),
    "googlenet": (
        "googlenet_torchvision",
        {"modules": 3 * ([googlenet.Widths(8, 8, 8, 8, 8, 8)],), "dropout_rate": 0.0},
        ["stem", "stage1", "stage2", "stage3", "classifier"],
        21,
    ),
    "highway": (
        "highway_cifar10",
        {
            "stage_sizes": (1, 1),
            "stage_features": (8, 16),
            "pool_sizes": (2,),
            "last_features": 8,
            "dropout_rates": (0.0, 0.0, 0.0),
        },
        ["stage1", "stage2", "last", "classifier"],
        5,
    ),
    "highway_fc": (
        "highway_fc10",
        {"depth": 3, "width": 8},
        ["stage1", "classifier"],
        3,
    ),
    "bn_inception": (
        "bn_inception",
        {
            "modules": (
                [bn_inception.Row(0, 8, 8, 8, 8, bn_inception.MAX, 0, strides=2)],
                [bn_inception.Row(8, 8, 8, 8, 8, bn_inception.AVERAGE, 8)],
            ),
        },
        ["stem", "stage1", "stage2", "classifier"],
        15,
    ),
    "inception_v3": (
        "inception_v3",
        {
            "pool_features": (64,),
            "inner_features": (),
            "stage3_size": 0,
            "conv": lambda features, *args, **kwargs: Conv(features // 16, *args, **kwargs),
            "dropout_rate": 0.0,
        },
        ["stem", "stage1", "stage2", "stage3", "classifier"],
        22,
    ),
    "inception_resnet": (
        "inception_resnet_v2",
        {
            "stem": (Layer(8, 3, strides=2),),
            "modules": 3 * (fork([Layer(4)], [Layer(4), Layer(4, (1, 3))]),),
            "reductions": 2 * (fork([Layer(8, 3, strides=2, padding=0)], [MAX]),),
            "stage_sizes": (1, 1, 1),
            "smallest": 13,
            "last_features": 8,
            "dropout_rate": 0.0,
        },
        ["stem", "stage1", "stage2", "stage3", "last", "classifier"],
        19,
    ),
}
# Images, where 16 pixels are too few.
SMALLEST = {"alexnet": 64, "zfnet": 53, "inception_v3": 75}
# Their classifier is no linear map of the features.
NORMALISED_LOGITS = {"ladder", "ladder_conv"}
BEHIND_THE_STAGES = {"__call__", "classifier", "Dropout_0"}  # in float32
# Of the others 1e-5.
PUBLISHED_EPSILON = dict.fromkeys(
    ("mobilenet", "googlenet", "bn_inception", "inception_v3", "inception_resnet"), 1e-3
) | {"dfn": 2e-5, "dfn_mr": 2e-5}
ALL = pytest.mark.parametrize("family", SMALL)
# Whose networks are compiled and run; the others by `pytest -m exhaustive`.
RUN = {"lenet", "cifar_resnet", "densenet", "mobilenet", "vgg"}


def compiled(families):
    """Families of a test that compiles and runs their networks."""
    marks = {True: pytest.mark.slow, False: pytest.mark.exhaustive}
    return pytest.mark.parametrize(
        "family", [pytest.param(f, marks=marks[f in RUN]) for f in families]
    )


COMPILED = compiled(SMALL)
QUICK_RUN = pytest.mark.parametrize("family", [f if f in RUN else exhaustive(f) for f in SMALL])
QUICK_TO_TRACE = {
    "lenet",
    "lenet5",
    "alexnet",
    "vgg",
    "cifar_resnet",
    "mobilenet",
    "cifar_densenet",
}
WITHOUT_NORM = {"lenet", "lenet5", "nin", "highway", "highway_fc"}
WITH_NORM = [family for family in SMALL if family not in WITHOUT_NORM]


def build(family, **fields):
    name, small, *_ = SMALL[family]
    return create_model(name, **{"num_classes": 5, **small, **fields})


def images(family, batch=4):
    size = SMALLEST.get(family, 16)
    return np.random.default_rng(7).normal(size=(batch, size, size, 3)).astype(np.float32)


def train_apply(model, variables, x, **kwargs):
    return model.apply(variables, x, train=True, mutable=["batch_stats"], **kwargs)


@compiled(WITH_NORM)
def test_statistics_move_in_training_and_stay_in_evaluation(family, start):
    model, x = build(family), images(family)
    variables = start(model, x)
    before = variables["batch_stats"]

    @jax.jit
    def both_modes(variables):
        evaluated = model.apply(variables, x, mutable=["batch_stats"])
        return evaluated, train_apply(model, variables, x)

    (_, stayed), (logits, moved) = both_modes(variables)
    chex.assert_trees_all_equal(stayed["batch_stats"], before)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.all(a != b), before, moved["batch_stats"]))
    garbage = jax.tree.map(lambda a: 3 * a + 1, before)
    (other, _), (again, _) = both_modes({**variables, "batch_stats": garbage})
    np.testing.assert_array_equal(logits, again)
    assert np.abs(other - again).max() > 1e-3


@pytest.mark.parametrize("family", ["resnet", "densenet"])
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_running_statistics_decay_by_the_field(family, momentum, start):
    x = images(family)
    fields = {} if momentum == 0.9 else {"norm_momentum": momentum}
    model = build(family, **fields)
    variables = start(model, x)

    @jax.jit
    def step(variables):
        return model.apply(
            variables,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: module.name == "conv",
        )[1]

    state = step(variables)
    maps = np.asarray(state["intermediates"]["stem"]["conv"]["__call__"][0])
    before, after = variables["batch_stats"]["stem"]["norm"], state["batch_stats"]["stem"]["norm"]
    for key, batch in (("mean", maps.mean((0, 1, 2))), ("var", maps.var((0, 1, 2)))):
        expected = momentum * before[key] + (1 - momentum) * batch
        np.testing.assert_allclose(after[key], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", [f if f in RUN else exhaustive(f) for f in WITH_NORM])
def test_epsilon_reaches_every_norm(family):
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm | SplitBatchNorm):
            seen.append(context.module)
        return call(*args, **kwargs)

    for fields in ({}, {"norm_epsilon": 2e-4}):
        expected = fields.get("norm_epsilon", PUBLISHED_EPSILON.get(family, 1e-5))
        seen.clear()
        with nn.intercept_methods(collect):
            jax.eval_shape(build(family, **fields).init, jax.random.key(0), images(family))
        assert seen
        assert {norm.epsilon for norm in seen} == {expected}


@ALL
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_in_float32(family):
    x = images(family)
    model = build(family, dtype=jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    step = partial(
        model.apply,
        train=True,
        capture_intermediates=True,
        mutable=["batch_stats", "intermediates"],
    )
    logits, state = jax.eval_shape(step, variables, x)
    assert logits.dtype == jnp.float32
    kept = (variables, state.get("batch_stats", {}))
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}
    inner = {k: v for k, v in state["intermediates"].items() if k not in BEHIND_THE_STAGES}
    assert {leaf.dtype for leaf in jax.tree.leaves(inner)} == {jnp.dtype("bfloat16")}
    headless = build(family, dtype=jnp.bfloat16, num_classes=0)
    features, _ = jax.eval_shape(headless.init_with_output, jax.random.key(0), x)
    assert features.dtype == jnp.float32


@COMPILED
def test_bfloat16_is_close_to_float32(family, start):
    x = images(family)
    variables = start(build(family), x)

    @jax.jit
    def both(variables):
        return build(family).apply(variables, x), build(family, dtype=jnp.bfloat16).apply(
            variables, x
        )

    exact, rounded = both(variables)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


@ALL
def test_float64_from_end_to_end(family):
    with jax.enable_x64(True):
        x = images(family).astype(np.float64)
        model = build(family, dtype=jnp.float64, param_dtype=jnp.float64)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float64")}
        program, (logits, state) = jax.make_jaxpr(partial(train_apply, model), return_shape=True)(
            variables, x
        )
        assert "f64[" in str(program)
        assert "f32[" not in str(program)
        assert logits.dtype == jnp.float64
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype("float64")}


@compiled([family for family in SMALL if family not in NORMALISED_LOGITS])
def test_no_classes_gives_what_the_classifier_sees(family, start):
    x = images(family)
    model, headless = build(family), build(family, num_classes=0)
    variables = start(model, x)
    body = {**variables, "params": dict(variables["params"])}
    head = body["params"].pop("classifier")
    expected = jax.eval_shape(headless.init, jax.random.key(0), x)["params"]
    assert jax.tree.structure(body["params"]) == jax.tree.structure(expected)
    features, logits = jax.jit(lambda: (headless.apply(body, x), model.apply(variables, x)))()
    assert features.ndim == 2
    np.testing.assert_allclose(
        features @ head["kernel"].reshape(features.shape[-1], -1) + head["bias"][None],
        logits,
        rtol=1e-4,
        atol=1e-5,
    )


@ALL
def test_stages_have_stable_names(family):
    *_, names, _ = SMALL[family]
    x = images(family)
    _, variables = jax.eval_shape(build(family).init_with_output, jax.random.key(0), x)
    apply = partial(build(family).apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.eval_shape(apply, variables, x)
    assert set(state["intermediates"]) - {"__call__", "Dropout_0"} == set(names)
    assert set(variables["params"]) == set(names)


@ALL
def test_parameters_are_named_on_purpose(family):
    variables = jax.eval_shape(build(family).init, jax.random.key(0), images(family))
    paths = ["/".join(path) for path in flax.traverse_util.flatten_dict(variables["params"])]
    numbered_by_flax = [p for p in paths if any("_" in s and s[0].isupper() for s in p.split("/"))]
    assert numbered_by_flax == []


@QUICK_RUN
def test_activation_is_replaced_in_the_whole_network(family):
    *_, count = SMALL[family]
    x = images(family)
    model = build(family, act=jnp.tanh)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    program = str(jax.make_jaxpr(model.apply)(variables, x))
    assert program.count("= tanh") == count
    assert "relu" not in program
    assert "relu" in str(jax.make_jaxpr(build(family).apply)(variables, x))


@compiled(WITH_NORM)
def test_sync_bn_through_the_norm_field(family, start):
    x = images(family, 8)
    halves = x.reshape(2, 4, *x.shape[1:])
    synced = build(family, norm=partial(build(family).norm, axis_name="batch"))
    variables = start(build(family), x)

    def in_halves(model):
        run = jax.vmap(partial(train_apply, model), in_axes=(None, 0), axis_name="batch")
        logits, state = run(variables, halves)
        return logits.reshape(8, -1), state

    whole, of_halves, unsynced = jax.jit(
        lambda: (
            train_apply(build(family), variables, x),
            in_halves(synced),
            in_halves(build(family)),
        )
    )()
    np.testing.assert_allclose(of_halves[0], whole[0], rtol=1e-3, atol=1e-4)
    for replica in range(2):
        of_replica = jax.tree.map(lambda a: a[replica], of_halves[1])  # noqa: B023
        close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
        jax.tree.map(close, of_replica, whole[1])
    assert np.abs(unsynced[0] - whole[0]).max() > 1e-2


@COMPILED
def test_mapped_over_images_and_over_parameters(family, start):
    x = images(family)
    model = build(family)
    variables = start(model, x)
    ensemble = jax.tree.map(lambda leaf: np.stack([leaf, 1.1 * leaf]), variables)
    plain, each_image, members = jax.jit(
        lambda: (
            model.apply(variables, x),
            jax.vmap(model.apply, in_axes=(None, 0))(variables, x[:, None]),
            jax.vmap(model.apply, in_axes=(0, None))(ensemble, x),
        )
    )()
    np.testing.assert_allclose(each_image[:, 0], plain, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(members[0], plain, rtol=1e-4, atol=1e-5)
    assert np.abs(members[1] - plain).max() > 1e-3


@QUICK_RUN
def test_transformations_compose(family):
    x = images(family)
    model = build(family)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    ensemble = jax.tree.map(lambda v: jax.ShapeDtypeStruct((2, *v.shape), v.dtype), variables)
    logits = jax.eval_shape(jax.vmap(jax.jit(model.apply), in_axes=(0, None)), ensemble, x)
    assert logits.shape == (2, 4, 5)

    def gradient(variables):
        return jax.grad(lambda v: jnp.sum(jax.checkpoint(model.apply)(v, x)))(variables)

    assert jax.tree.structure(jax.eval_shape(gradient, variables)) == jax.tree.structure(variables)


def smallest(model):
    """Side of the smallest images that a network takes."""
    try:
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 1, 1, 3)))
    except UserError as error:
        return int(re.search(r"takes (\d+)x\1 or larger", str(error))[1])
    return 1


def training_step(model):
    """(variables, images, key) → variables after a step of SGD, loss."""

    def step(variables, x, key):
        stats = {k: v for k, v in variables.items() if k != "params"}

        def loss(params):
            logits, updates = model.apply(
                {"params": params, **stats},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key, "drop_path": key},
            )
            return -jax.nn.log_softmax(logits)[:, 0].mean(), updates

        (value, updates), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        params = jax.tree.map(lambda p, g: p - 0.01 * g, variables["params"], grads)
        return {"params": params, **updates}, value

    return step


# `tests.config.test_configs` trains one network of every family.
@COMPILED
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_step_on_the_smallest_images(family, dtype, start):
    model = build(family, dtype=jnp.dtype(dtype))
    size = smallest(model)
    x = np.random.default_rng(3).normal(size=(4, size, size, 3)).astype(np.float32)
    variables = start(model, x)
    after, loss = jax.jit(training_step(model))(variables, x, jax.random.key(1))
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    assert jax.tree.map(lambda a: a.dtype, after) == jax.tree.map(lambda a: a.dtype, variables)
    heads = (jax.tree.leaves(tree["params"]["classifier"]) for tree in (after, variables))
    assert any(np.any(a != b) for a, b in zip(*heads, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("family", [f if f in QUICK_TO_TRACE else exhaustive(f) for f in SMALL])
def test_published_network_takes_the_smallest_images_and_none_smaller(family):
    model = create_model(SMALL[family][0], dtype=jnp.bfloat16)
    size = smallest(model)
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    rngs = {"dropout": jax.random.key(1), "drop_path": jax.random.key(1)}
    logits, _ = jax.eval_shape(partial(train_apply, model, rngs=rngs), variables, x)
    assert len(logits) == 2
    if size > 1:
        x = jnp.ones((2, size - 1, size, 3))
        with pytest.raises(UserError, match=f"takes {size}x{size} or larger"):
            jax.eval_shape(model.init, jax.random.key(0), x)


@COMPILED
def test_gradients_reach_every_parameter_and_survive_checkpointing(family, start):
    x = images(family)
    model = build(family)
    variables = start(model, x)
    stats = {k: v for k, v in variables.items() if k != "params"}

    def forward(params):
        return model.apply({"params": params, **stats}, x)

    def gradient(forward):
        return jax.grad(lambda params: jnp.sum(forward(params) ** 2))(variables["params"])

    expected, got = jax.jit(lambda: (gradient(forward), gradient(jax.checkpoint(forward))))()
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(expected))
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    chex.assert_trees_all_close(got, expected, rtol=1e-3, atol=1e-5 * scale)


@ALL
def test_images_of_wrong_rank_say_so(family):
    with pytest.raises(UserError, match=r"\(N, H, W, C\)"):
        build(family).init(jax.random.key(0), jnp.ones((16, 16, 3)))
