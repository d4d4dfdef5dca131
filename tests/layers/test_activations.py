from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.config import build, build_data, recipes
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.layers.activations import (
    ACTIVATIONS,
    Maxout,
    MaxoutConv,
    PReLU,
    RReLU,
    activation,
    maxout,
    prelu,
    rrelu,
)
from jaxcnn.training.fields import LossConfig
from jaxcnn.training.losses import make_objective
from jaxcnn.training.steps import StepParts, make_eval_step, make_train_step

X = (-2.0, -0.5, 0.0, 0.75, 3.0)
# torch.nn.functional's, in float64; of rrelu at evaluation, of gelu the approximation by tanh.
TORCH = {
    "relu": (0, 0, 0, 0.75, 3),
    "relu6": (0, 0, 0, 0.75, 3),
    "leaky_relu": (-0.02, -0.005, 0, 0.75, 3),
    "prelu": (-0.5, -0.125, 0, 0.75, 3),
    "rrelu": (-0.45833333, -0.11458333, 0, 0.75, 3),
    "elu": (-0.86466472, -0.39346934, 0, 0.75, 3),
    "gelu": (-0.04540231, -0.15428599, 0, 0.57996056, 2.99636261),
    "tanh": (-0.96402758, -0.46211716, 0, 0.63514895, 0.99505475),
    "scaled_tanh": (-1.49293881, -0.55168371, 0, 0.79294683, 1.65417492),
    "sigmoid": (0.11920292, 0.37754067, 0.5, 0.6791787, 0.95257413),
}


class Activated(nn.Module):
    """An activation in a module, as networks call it."""

    act: object

    @nn.compact
    def __call__(self, x):
        return self.act(x)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_values_and_types(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(X, dtype)[None]
        layer = Activated(ACTIVATIONS[name])
        y, variables = layer.init_with_output(jax.random.key(0), x)
        assert y.dtype == x.dtype
        tolerance = {"float64": 1e-8, "float32": 1e-6, "bfloat16": 1e-2}[dtype]
        y = np.asarray(y[0], np.float64)
        np.testing.assert_allclose(y, TORCH[name], rtol=tolerance, atol=tolerance)
        for leaf in jax.tree.leaves(variables):
            assert leaf.dtype == jnp.promote_types(dtype, "float32")


def test_names():
    assert set(ACTIVATIONS) == {*TORCH, "maxout"}
    assert activation("relu") is nn.relu
    with pytest.raises(UserError, match="no activation 'relo': did you mean relu"):
        activation("relo")


def test_prelu_has_one_slope_for_each_channel():
    x = jnp.array([[-1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]])
    variables = {"params": {"slope": jnp.array([0.1, 0.5, 2.0])}}

    def total(variables):
        return PReLU().apply(variables, x).sum()

    expected = [[-0.1, -1, 3], [-0.4, 5, -12]]
    np.testing.assert_allclose(PReLU().apply(variables, x), expected, rtol=1e-6)
    slopes = jax.jit(jax.grad(total))(variables)["params"]["slope"]
    np.testing.assert_allclose(slopes, [-5, -2, -6])


@pytest.mark.slow
def test_prelu_of_a_network_is_named_in_the_order_of_calls_and_learns():
    model = create_model("cifar_resnet20", act=prelu, stage_sizes=(1,), width=4)
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    slopes = {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if "PReLU" in str(path)
    }
    assert {name: leaf.tolist() for name, leaf in slopes.items()} == {
        "stem/PReLU_0/slope": [0.25] * 4,
        "stage1/block1/PReLU_0/slope": [0.25] * 4,
        "stage1/block1/PReLU_1/slope": [0.25] * 4,
    }

    @jax.jit
    def gradients(params):
        def loss(params):
            given = {**variables, "params": params}
            logits, _ = model.apply(given, images, train=True, mutable=["batch_stats"])
            return logits[:, 0].sum()

        return jax.grad(loss)(params)

    grads = gradients(variables["params"])
    assert grads["stage1"]["block1"]["PReLU_1"]["slope"].any()
    leaky = model.clone(act=partial(nn.leaky_relu, negative_slope=0.25))
    without = jax.tree_util.tree_map_with_path(lambda path, leaf: leaf, variables)
    for module in (without["params"]["stem"], without["params"]["stage1"]["block1"]):
        for name in [name for name in module if name.startswith("PReLU")]:
            del module[name]
    np.testing.assert_allclose(
        model.apply(variables, images), leaky.apply(without, images), rtol=1e-5, atol=1e-6
    )


def test_rrelu_draws_a_slope_for_each_element_where_it_is_given_a_key():
    x = jnp.full((40, 50), -1.0)
    layer = Activated(rrelu)
    drawn = [
        np.asarray(layer.apply({}, x, rngs={"dropout": jax.random.key(seed)})) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).mean() > 0.99
    assert len(np.unique(drawn[0])) > 1900
    assert -1 / 3 <= drawn[0].min() < -0.33
    assert -0.13 < drawn[0].max() <= -1 / 8
    assert drawn[0].mean() == pytest.approx(-11 / 48, abs=0.005)
    positive = layer.apply({}, -x, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(positive, -x)
    np.testing.assert_allclose(layer.apply({}, x), -11 / 48, rtol=1e-6)
    np.testing.assert_allclose(RReLU(0.5, 0.7).apply({}, x), -0.6, rtol=1e-6)


def lenet_config(act):
    config = recipes.recipe("lenet5_modern")
    config.model.overrides.act = act
    config.data.pad = 0
    config.schedule.update(name="constant", learning_rate=0.0, warmup="0steps")
    return config


@pytest.mark.slow
def test_a_run_draws_rrelu_in_training_and_not_in_evaluation():
    config = lenet_config("rrelu")
    model = build.make_model(config, 10)
    assert model.act is rrelu
    optimizer = build.make_optimizer(config, total_steps=9, steps_per_epoch=3)
    rng = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(rng.integers(0, 256, (4, 16, 16, 1)), jnp.uint8),
        "label": jnp.arange(4),
        "index": jnp.arange(4),
        "epoch": jnp.zeros(4, jnp.int32),
        "repeat": jnp.zeros(4, jnp.int32),
        "weight": jnp.ones(4),
    }
    normalize = build_data.make_normalize(config)
    train_step = make_train_step(
        StepParts(
            model,
            optimizer,
            make_objective(LossConfig()),
            lambda images, keys: normalize(images),
            total_steps=9,
        )
    )
    from jaxcnn.training.initialize import prepare_state
    from jaxcnn.training.state import initial_state

    state = prepare_state(initial_state(model, optimizer, (16, 16, 1)), jax.random.key(0))()
    step = jax.jit(train_step)
    state, first = step(state, batch)
    state, second = step(state, batch)  # the rate is zero
    assert first["loss"] != second["loss"]
    evaluate = jax.jit(make_eval_step(model, normalize))
    sums = [evaluate(state.variables(), batch)["loss"] for _ in range(2)]
    mean = model.clone(act=partial(nn.leaky_relu, negative_slope=11 / 48))
    expected = make_eval_step(mean, normalize)(state.variables(), batch)["loss"]
    np.testing.assert_allclose(sums, expected, rtol=1e-5)


def test_a_config_names_the_activation():
    assert build.make_model(lenet_config("elu"), 10).act is nn.elu
    with pytest.raises(UserError, match="no activation 'eluu': did you mean elu"):
        build.make_model(lenet_config("eluu"), 10)
    with pytest.raises(UserError, match="no activation '3'"):
        build.make_model(lenet_config(3), 10)
    config = recipes.recipe("cifar_resnet20")
    config.model.overrides.norm = "relu"
    with pytest.raises(UserError, match=r"overrides\.norm: no normalisation 'relu'"):
        build.make_model(config, 10)


# Maxout -----------------------------------------------------------------------------------------


def test_maxout_takes_channels_that_lie_beside_each_other():
    x = jnp.array([[1.0, 5.0, -2.0, 3.0, 2.0, 4.0]])
    np.testing.assert_array_equal(maxout(x, 2), [[5, 3, 4]])
    np.testing.assert_array_equal(maxout(x, 3), [[5, 4]])
    with pytest.raises(UserError, match="over 4 of 6 channels"):
        maxout(x, 4)


def test_a_network_of_maxout_has_half_the_channels_behind_it():
    model = create_model("vgg11", act=ACTIVATIONS["maxout"], stage_features=(4, 6, 8, 8, 8))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert shapes["stage2"]["conv1"]["kernel"].shape == (3, 3, 2, 6)


def test_two_linear_pieces_make_an_absolute_value():
    kernel = jnp.array([[1.0, -1.0]])
    params = {"params": {"dense": {"kernel": kernel, "bias": jnp.zeros(2)}}}
    np.testing.assert_array_equal(Maxout(1).apply(params, jnp.array([[-3.0], [2.0]])), [[3], [2]])


def test_maxout_of_convolutions_is_the_largest_of_them():
    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 3))
    layer = MaxoutConv(4, (3, 3), pieces=3, conv=partial(Conv, padding=1, strides=2))
    y, variables = layer.init_with_output(jax.random.key(1), x)
    assert y.shape == (2, 3, 3, 4)
    params = variables["params"]["conv"]
    pieces = [
        Conv(4, (3, 3), padding=1, strides=2).apply(
            {"params": {"kernel": params["kernel"][..., i::3], "bias": params["bias"][i::3]}}, x
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(y, np.max(pieces, axis=0), rtol=1e-5, atol=1e-6)
