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
from jaxcnn.models.densenet import (
    DenseBlock,
    DenseLayer,
    DenseNet,
    Transition,
    cifar_densenet,
    imagenet_densenet,
)
from tests.marks import slow
from tests.ops.switched import OUR_FORMS


def shapes(model, size=32):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def stage_sizes(params):
    return tuple(len(params[k]) for k in sorted(params) if k.startswith("stage"))


def identity_parts(**fields):
    norm = partial(nn.BatchNorm, use_running_average=True, epsilon=0)
    dropout = partial(nn.Dropout, 0.0, deterministic=True)
    return {"conv": Conv, "norm": norm, "act": nn.relu, "dropout": dropout, **fields}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "growth_rate", "sizes"),
    [
        ("densenet121", 32, (6, 12, 24, 16)),
        pytest.param("densenet169", 32, (6, 12, 32, 32), marks=pytest.mark.exhaustive),
        pytest.param("densenet201", 32, (6, 12, 48, 32), marks=pytest.mark.exhaustive),
        slow("densenet161", 48, (6, 12, 36, 24)),
        ("densenet_40_12", 12, (12, 12, 12)),
        pytest.param("densenet_bc_250_24", 24, (41, 41, 41), marks=pytest.mark.exhaustive),
    ],
)
def test_layers_and_growth_of_the_papers_tables(name, growth_rate, sizes, trace):
    params = trace(name).variables["params"]
    assert stage_sizes(params) == sizes
    last = "conv1" if name == "densenet_40_12" else "conv2"
    for stage in range(1, len(sizes) + 1):
        for layer in params[f"stage{stage}"].values():
            assert layer[last]["kernel"].shape[:2] == (3, 3)
            assert layer[last]["kernel"].shape[3] == growth_rate


@pytest.mark.slow
def test_stem_and_transition_widths(trace):
    params = trace("densenet121").variables["params"]
    assert params["stem"]["conv"]["kernel"].shape == (7, 7, 3, 64)
    assert params["stage1"]["layer1"]["conv1"]["kernel"].shape == (1, 1, 64, 128)
    widths = [params[f"transition{i}"]["conv"]["kernel"].shape[2:] for i in (1, 2, 3)]
    assert widths == [(256, 128), (512, 256), (1024, 512)]
    assert params["final_norm"]["scale"].shape == (1024,)

    plain = trace("densenet_40_12").variables["params"]
    assert plain["stem"]["conv"]["kernel"].shape == (3, 3, 3, 16)
    assert set(plain["stem"]) == {"conv"}
    assert plain["transition1"]["conv"]["kernel"].shape == (1, 1, 160, 160)
    compressed = trace("densenet_bc_100_12").variables["params"]
    assert compressed["stem"]["conv"]["kernel"].shape == (3, 3, 3, 24)
    assert compressed["transition1"]["conv"]["kernel"].shape == (1, 1, 216, 108)


def test_compression_rounds_down():
    params = shapes(cifar_densenet(7, 3, compression=0.5, stem_features=4))
    assert params["transition1"]["conv"]["kernel"].shape == (1, 1, 7, 3)


@pytest.mark.slow
def test_b_alone_and_c_alone():
    b = shapes(cifar_densenet(40, 12, bottleneck=True))
    assert stage_sizes(b) == (6, 6, 6)
    assert b["stage1"]["layer1"]["conv1"]["kernel"].shape == (1, 1, 16, 48)
    assert b["transition1"]["conv"]["kernel"].shape == (1, 1, 88, 88)
    c = shapes(create_model("densenet_40_12", compression=0.5))
    assert stage_sizes(c) == (12, 12, 12)
    assert set(c["stage1"]["layer1"]) == {"norm1", "conv1"}
    assert c["transition1"]["conv"]["kernel"].shape == (1, 1, 160, 80)


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_layer_appends_the_new_channels_to_its_input(bottleneck, in_parts):
    layer = partial(DenseLayer, 2, bottleneck, **identity_parts())
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
    y, variables = DenseBlock(layer, 1, in_parts).init_with_output(jax.random.key(1), x)
    assert y.shape == (2, 5, 5, 5)
    np.testing.assert_array_equal(y[..., :3], x)
    params, new = variables["params"]["layer1"], nn.relu(x)
    if bottleneck:
        new = nn.relu(nn.Conv(8, (1, 1)).apply({"params": params["conv1"]}, new))
    last = params["conv2" if bottleneck else "conv1"]
    new = nn.Conv(2, (3, 3), padding="SAME").apply({"params": last}, new)
    np.testing.assert_allclose(y[..., 3:], new, rtol=1e-5, atol=1e-5)


def residual_values(num_layers: int, remat: bool) -> int:
    """How many numbers a gradient of one block keeps for its backward pass."""
    fields = {"stage_sizes": (num_layers,), "growth_rate": 8, "stem_features": 8, "num_classes": 0}
    model = DenseNet(**fields, cifar_stem=True, remat=remat)
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def kept(variables, images):
        def features(params):
            given = {**variables, "params": params}
            return model.apply(given, images, train=True, mutable=["batch_stats"])[0]

        return jax.vjp(features, variables["params"])[1]

    leaves = jax.tree.leaves(jax.eval_shape(kept, variables, images))
    return sum(leaf.size for leaf in leaves if leaf.ndim == 4 and leaf.shape[0] == 2)


@pytest.mark.exhaustive
def test_memory_of_a_block_is_linear_in_its_depth_with_remat():
    short, long, longer = (residual_values(n, remat=True) for n in (8, 16, 24))
    assert longer - long == long - short > 0
    short, long, longer = (residual_values(n, remat=False) for n in (8, 16, 24))
    assert longer - long > 1.3 * (long - short)


@pytest.mark.slow
@pytest.mark.parametrize("dropout_rate", [pytest.param(0.0, marks=pytest.mark.exhaustive), 0.3])
def test_remat_changes_no_number(dropout_rate):
    plain = small(dropout_rate=dropout_rate, dtype=jnp.float64, param_dtype=jnp.float64)
    with jax.enable_x64(True):
        images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3), jnp.float64)
        variables = plain.init(jax.random.key(1), images)

        def outcome(model):
            def loss(params):
                given = {**variables, "params": params}
                rngs = {"dropout": jax.random.key(2)}
                logits, updated = model.apply(
                    given, images, train=True, mutable=["batch_stats"], rngs=rngs
                )
                return jnp.sum(logits[:, 0]), (logits, updated)

            return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])

        same = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
        jax.tree.map(same, outcome(plain.clone(remat=True)), outcome(plain))


def test_transition_activates_projects_and_averages():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    transition = Transition(2, **identity_parts())
    y, variables = transition.init_with_output(jax.random.key(1), x)
    kernel = variables["params"]["conv"]["kernel"][0, 0]
    projected = np.einsum("nhwi,io->nhwo", np.maximum(x, 0), kernel)[:, :4]
    expected = projected.reshape(2, 2, 2, 2, 2, 2).mean((2, 4))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def small(**fields):
    small_fields = {"stage_sizes": (2, 1), "growth_rate": 4}
    return create_model("densenet_bc_100_12", 5, **{**small_fields, **fields})


def run(model, variables, x, **kwargs):
    return model.apply(variables, x, train=True, mutable=["batch_stats"], **kwargs)[0]


def test_dropout_needs_its_rng_in_training_only(start):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    fields = {"stage_sizes": (1,), "bottleneck": False}
    plain, dropping = small(**fields), small(**fields, dropout_rate=0.2)
    variables = start(plain, x)
    evaluated = jax.jit(lambda: (plain.apply(variables, x), dropping.apply(variables, x)))()
    np.testing.assert_array_equal(*evaluated)
    jax.eval_shape(lambda: run(plain, variables, x))
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda: run(dropping, variables, x))
    train = jax.jit(lambda key: run(dropping, variables, x, rngs={"dropout": key}))
    first, again, other = (train(jax.random.key(seed)) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(("bottleneck", "expected"), [(True, 3 * 2 + 1), (False, 3 + 1)])
def test_dropout_follows_every_convolution_but_the_first(bottleneck, expected):
    x = jnp.ones((4, 8, 8, 3))
    dropped = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            assert context.module.rate == 0.3
            assert not context.module.deterministic
            dropped.append(context.module.path)
        return call(*args, **kwargs)

    model = small(dropout_rate=0.3, bottleneck=bottleneck)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    with nn.intercept_methods(collect):
        jax.eval_shape(lambda v: run(model, v, x, rngs={"dropout": jax.random.key(0)}), variables)
    assert len(dropped) == expected
    assert {path[0] for path in dropped} == {"stage1", "transition1", "stage2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "smallest"),
    [slow("densenet121", 29), ("densenet_40_12", 4), ("densenet_bc_100_12", 4)],
)
def test_smallest_image(name, smallest):
    model = create_model(name)
    shapes(model, smallest)
    with pytest.raises(UserError, match=f"{smallest}x{smallest} or larger"):
        shapes(model, smallest - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imagenet_densenet(120), "no DenseNet of depth 120"),
        (lambda: cifar_densenet(41, 12), r"3n\+4"),
        (lambda: cifar_densenet(43, 12, bc=True), r"6n\+4"),
        (lambda: cifar_densenet(43, 12, bottleneck=True), r"6n\+4"),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.slow
@OUR_FORMS
def test_the_program_of_a_block_grows_with_its_depth_not_its_square():
    """Without the barrier in the gradient every reader would add up what all later layers give."""

    def size(layers: int) -> int:
        model = DenseNet(num_classes=2, stage_sizes=(layers,), growth_rate=4, cifar_stem=True)
        images = jnp.ones((2, 8, 8, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), images)

        def loss(params, rest):
            logits, _ = model.apply(
                {"params": params, **rest}, images, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(logits**2)

        rest = {"batch_stats": variables["batch_stats"]}
        program = jax.jit(jax.grad(loss)).lower(variables["params"], rest).compile()
        return program.as_text().count("\n")

    few, more, most = map(size, (4, 8, 12))
    assert most - more < 1.1 * (more - few)
