"""BatchNorm folded into the layers in front of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.fold import fold_batch_norm
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.conv import ConvTranspose
from tests.interop.small import filled
from tests.models.test_contracts import SMALL, build, images

# Of each family with norms: how many can be folded, how many are behind something else.
NORMS = {
    "cifar_resnet": (5, 0),
    "resnet": (9, 0),
    "preact_resnet": (5, 2),  # kept: in front of the second stage and of the last pool
    "cifar_wide_resnet": (3, 2),
    "stochastic_depth": (5, 0),
    "resnext": (9, 0),
    "cifar_densenet": (0, 5),
    "densenet": (4, 5),  # folded: of the stem and of the bottlenecks
    "fractalnet": (6, 0),
    "dfn": (9, 0),
    "dfn_mr": (15, 0),
    "mobilenet": (5, 0),
    "ladder": (0, 3),
    "ladder_conv": (0, 5),
    "alexnet": (5, 0),
    "zfnet": (5, 0),
    "vgg": (3, 0),
    "googlenet": (21, 0),
    "bn_inception": (15, 0),
    "inception_v3": (22, 0),
    "inception_resnet": (16, 0),
}
WITHOUT = {"lenet", "lenet5", "nin", "highway", "highway_fc"}
GATE = {"cifar_wide_resnet"}
SLOW = {"resnet", "preact_resnet", "densenet", "vgg", "mobilenet", "googlenet"}


def mark(family):
    marks = [] if family in GATE else pytest.mark.slow if family in SLOW else pytest.mark.exhaustive
    return pytest.param(family, marks=marks)


def start(model, x):
    """Random variables: scales of both signs, variances unlike one."""
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), x))
    rng = np.random.default_rng(1)

    def turned(path, leaf):
        return leaf * rng.choice([-1, 1], leaf.shape) if path[-1].key == "scale" else leaf

    return jax.tree_util.tree_map_with_path(turned, variables)


def statistics_of(model, variables, x):
    """The variables with the statistics of these images, as after training on them."""
    trained = jax.jit(lambda v: model.apply(v, x, train=True, mutable=["batch_stats"])[1])
    return {**variables, **trained(variables)}


def close(model, variables, x, tolerance=1e-5):
    """Returns the folded network and its variables, after a comparison of its logits."""
    network, folded = fold_batch_norm(model, variables, x.shape[1:])
    agree(jax.jit(network.apply)(folded, x), jax.jit(model.apply)(variables, x), tolerance)
    return network, folded


def agree(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_every_family_is_listed():
    assert {*NORMS} | WITHOUT == {*SMALL}


@pytest.mark.parametrize("family", [mark(family) for family in NORMS])
def test_a_folded_network_has_the_logits_of_the_network(family):
    """With random statistics, and with those of images as after training."""
    model, x = build(family, norm_momentum=0.0), images(family, batch=2)
    variables = start(model, x)
    network, folded = fold_batch_norm(model, variables, x.shape[1:])
    assert (len(network.folded), len(network.kept)) == NORMS[family]
    kept = {
        "/".join(path[:-1])
        for path in traverse_util.flatten_dict(folded.get("batch_stats", {}))
        if path[-1] == "mean"
    }
    assert kept == {*network.kept}  # and no statistics of the others
    whole, small = jax.jit(model.apply), jax.jit(network.apply)
    agree(small(folded, x), whole(variables, x))
    if family in GATE or family.startswith("ladder"):  # whose training needs keys
        return
    trained = statistics_of(model, variables, images(family, batch=16))
    agree(small(fold_batch_norm(model, trained, x.shape[1:])[1], x), whole(trained, x))


@pytest.mark.slow
def test_in_float64_only_rounding_is_left():
    with jax.enable_x64(True):
        model = build("resnet", dtype=jnp.float64, param_dtype=jnp.float64)
        x = np.float64(images("resnet", batch=2))
        _, folded = close(model, start(model, x), x, tolerance=1e-13)
        assert folded["params"]["stem"]["conv"]["kernel"].dtype == np.float64


def test_half_precision_keeps_its_dtypes():
    model, x = build("cifar_resnet", dtype=jnp.bfloat16), images("cifar_resnet", batch=1)
    network, folded = fold_batch_norm(model, start(model, x), x.shape[1:])
    shapes = jax.eval_shape(
        lambda v, x: network.apply(v, x, capture_intermediates=True)[1], folded, x
    )
    maps = shapes["intermediates"]["stem"]["norm"]["__call__"][0]
    assert maps.dtype == jnp.bfloat16
    assert folded["params"]["stem"]["norm"]["bias"].dtype == np.float32


class Layers(nn.Module):
    """All kinds of layers, with and without a bias: each with a norm that can be folded."""

    @nn.compact
    def __call__(self, x, train=False):
        def norm(name, **fields):
            return BatchNorm(use_running_average=not train, name=name, **fields)

        x = norm("norm1")(nn.Conv(4, (3, 3), use_bias=False, name="with_shift")(x))
        x = norm("norm2", epsilon=0.3)(nn.Conv(4, (3, 3), name="with_bias")(nn.relu(x)))
        x = nn.Conv(8, (3, 3), feature_group_count=4, name="depthwise")(nn.relu(x))
        x = norm("norm3", use_scale=False)(x)
        x = ConvTranspose(6, (2, 2), strides=2, name="transposed")(nn.relu(x))
        x = norm("norm4", use_bias=False)(x)
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x).mean((1, 2)))
        x = norm("norm5")(nn.Dense(5, name="hidden")(x))
        return nn.Dense(3, name="classifier")(nn.relu(x))


def test_all_kinds_of_layers():
    x = images("vgg", batch=2)
    network, folded = close(Layers(), start(Layers(), x), x)
    assert network.folded == tuple(f"norm{number}" for number in range(1, 6))
    assert network.kept == ()
    assert {*folded} == {"params"}
    assert {*folded["params"]} == {
        *("with_shift", "norm1", "with_bias", "depthwise", "transposed", "hidden", "classifier")
    }
    assert {*folded["params"]["norm1"]} == {"bias"}


class Others(nn.Module):
    """Norms that cannot be folded."""

    @nn.compact
    def __call__(self, x, train=False):
        def norm(name, **fields):
            return BatchNorm(use_running_average=not train, name=name, **fields)

        x = norm("of_images")(x)
        x = nn.Conv(4, (3, 3), name="of_two")(x)
        x = nn.relu(norm("one_of_two")(x)) + x
        twice = nn.Conv(4, (3, 3), name="twice")
        x = nn.relu(norm("behind_twice")(twice(nn.relu(twice(x)))))
        again = norm("again")
        x = again(nn.Conv(4, (1, 1), name="before_again")(x))
        x = again(nn.Conv(4, (1, 1), name="before_again_2")(nn.relu(x)))
        x = norm("behind_relu")(nn.relu(nn.Conv(4, (1, 1), name="before_relu")(x)))
        x = norm("other_axis", axis=1)(nn.Conv(4, (1, 1), name="before_other")(x))
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


def test_norms_that_share_a_layer_or_are_behind_something_else_are_kept():
    x = images("vgg", batch=2)
    network, _ = close(Others(), start(Others(), x), x)
    assert network.folded == ()
    assert {*network.kept} == {
        *("of_images", "one_of_two", "behind_twice", "again", "behind_relu", "other_axis")
    }


@pytest.mark.slow
def test_a_network_in_a_loop_is_folded_too():
    model, x = build("cifar_resnet", stage_sizes=(4,), scan_units=True), images("vgg", batch=1)
    variables = start(model, x)
    network, folded = fold_batch_norm(model, variables, x.shape[1:])
    assert len(network.folded) == 9
    wanted = jax.jit(model.clone(scan_units=False).apply)(variables, x)
    np.testing.assert_allclose(jax.jit(network.apply)(folded, x), wanted, rtol=1e-4, atol=1e-4)


def test_folded_norms_cannot_be_trained():
    x = images("vgg", batch=1)
    network, folded = fold_batch_norm(Layers(), start(Layers(), x), x.shape[1:])
    with pytest.raises(ValueError, match="no statistics to train"):
        network.apply(folded, x, train=True)
