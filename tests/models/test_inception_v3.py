from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models import model_info
from jaxcnn.models.inception_v3 import InceptionV3

SHORT = {"pool_features": (32,), "inner_features": (), "stage3_size": 0}


def images(size, channels=3):
    return jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)


def shapes(model, size=75, channels=3):
    return jax.eval_shape(model.init, jax.random.key(0), images(size, channels))


def collected(kind, call):
    """Returns the modules of a class, or of several, that a call uses."""
    found = []

    def collect(method, args, kwargs, context):
        if isinstance(context.module, kind):
            found.append(context.module)
        return method(*args, **kwargs)

    with nn.intercept_methods(collect):
        jax.eval_shape(call)
    return found


def kernels(params):
    return {
        "/".join(part for part in path[:-1] if part != "conv"): leaf.shape
        for path, leaf in traverse_util.flatten_dict(params).items()
        if path[-1] == "kernel"
    }


@pytest.mark.slow
def test_maps_of_the_table():
    run = partial(InceptionV3().init_with_output, capture_intermediates=True, mutable=True)
    _, state = jax.eval_shape(run, jax.random.key(0), images(299))
    maps = state["intermediates"]
    assert maps["stem"]["__call__"][0].shape == (2, 35, 35, 192)
    for stage, size, channels in (
        ("stage1", 35, {"block1": 256, "block2": 288, "block3": 288}),
        ("stage2", 17, {"reduction": 768, **{f"block{i}": 768 for i in (1, 2, 3, 4)}}),
        ("stage3", 8, {"reduction": 1280, "block1": 2048, "block2": 2048}),
    ):
        assert set(maps[stage]) == {"__call__", *channels}
        for name, depth in channels.items():
            assert maps[stage][name]["__call__"][0].shape == (2, size, size, depth)


def test_factorised_convolutions(trace):
    params = trace("inception_v3").variables["params"]
    assert kernels(params["stage2"]["block2"]) == {
        "branch1/conv1": (1, 1, 768, 192),
        "branch2/conv1": (1, 1, 768, 160),
        "branch2/conv2": (1, 7, 160, 160),
        "branch2/conv3": (7, 1, 160, 192),
        "branch3/conv1": (1, 1, 768, 160),
        "branch3/conv2": (7, 1, 160, 160),
        "branch3/conv3": (1, 7, 160, 160),
        "branch3/conv4": (7, 1, 160, 160),
        "branch3/conv5": (1, 7, 160, 192),
        "branch4/conv1": (1, 1, 768, 192),
    }
    assert kernels(params["stage3"]["block1"]["branch3"]) == {
        "conv1": (1, 1, 1280, 448),
        "conv2": (3, 3, 448, 384),
        "fork3/branch1/conv1": (1, 3, 384, 384),
        "fork3/branch2/conv1": (3, 1, 384, 384),
    }


@pytest.mark.slow
def test_v2_differs_in_the_second_branch_of_stage_1(trace):
    v2, v3 = (kernels(trace(f"inception_v{i}").variables["params"]) for i in (2, 3))
    assert {path: (v2[path], v3[path]) for path in v3 if v2[path] != v3[path]} == {
        f"stage1/block{i}/branch2/conv2": ((3, 3, 48, 64), (5, 5, 48, 64)) for i in (1, 2, 3)
    }


@pytest.mark.slow
def test_average_pools_count_the_padding_if_asked_to(start):
    """One module with a pooling branch: the factor at a border of six pixels of nine is 2/3."""
    model = InceptionV3(num_classes=0, **SHORT)
    x = np.random.default_rng(0).normal(size=(1, 75, 75, 3)).astype(np.float32)
    variables = start(model, x)

    def pooled(count_include_pad):
        _, state = model.clone(count_include_pad=count_include_pad).apply(
            variables,
            x,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: module.name == "conv",
        )
        return state["intermediates"]["stage1"]["block1"]["branch4"]["conv1"]["conv"]["__call__"][0]

    pixels, all_nine = jax.jit(lambda: (pooled(False), pooled(True)))()
    factor = np.full((7, 7, 1), 1.0)
    factor[[0, -1]] *= 2 / 3
    factor[:, [0, -1]] *= 2 / 3
    np.testing.assert_allclose(all_nine[0], factor * pixels[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_parameters_with_the_auxiliary_head():
    model = InceptionV3(aux_heads=True)
    params = shapes(model, 299)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == model_info("inception_v3").params_with_aux == 27_161_264
    assert params["aux1_head"]["conv1"]["conv"]["kernel"].shape == (1, 1, 768, 128)
    assert "aux1_head" not in shapes(model.clone(num_classes=0))["params"]
    assert "aux1_head" not in shapes(model.clone(aux_heads=False))["params"]


@pytest.mark.slow
def test_auxiliary_head_runs_where_it_is_asked_for():
    model = InceptionV3(7, aux_heads=True, **SHORT)
    variables = shapes(model, 299)
    assert set(variables) == {"params", "batch_stats"}
    init = partial(model.init, mutable=["params", "batch_stats"])
    assert jax.eval_shape(init, jax.random.key(0), images(299)) == variables

    def run(size=299, **kwargs):
        rngs = {"dropout": jax.random.key(0)}
        return jax.eval_shape(partial(model.apply, rngs=rngs, **kwargs), variables, images(size))

    for train in (False, True):
        _, state = run(train=train, mutable=["aux", "batch_stats"])
        assert {name: logits.shape for name, logits in state["aux"].items()} == {"aux1": (2, 7)}
    _, state = run(mutable=["aux", "intermediates"], capture_intermediates=True)
    maps = [state["intermediates"]["aux1_head"][f"conv{i}"]["__call__"][0].shape for i in (1, 2)]
    assert maps == [(2, 5, 5, 128), (2, 1, 1, 768)]
    assert [dense.path for dense in collected(nn.Dense, run)] == [("classifier",)]
    assert run(75).shape == (2, 7)
    with pytest.raises(UserError, match=r"16x16.*aux_heads=False"):
        run(298, train=True, mutable=["batch_stats"])


@pytest.mark.slow
def test_dropout_stands_in_front_of_the_classifier():
    for rate, fields in ((0.2, {}), (0.5, {"dropout_rate": 0.5})):
        model = InceptionV3(aux_heads=True, **SHORT, **fields)
        variables = shapes(model, 299)
        run = partial(model.apply, train=True, mutable=True, rngs={"dropout": jax.random.key(0)})
        used = collected(nn.Dropout, partial(jax.eval_shape, run, variables, images(299)))
        assert [(len(drop.path), drop.rate, drop.deterministic) for drop in used] == [
            (1, rate, False)
        ]


def test_weights_start_from_truncated_normals():
    model = InceptionV3(aux_heads=True, **SHORT)
    layers = collected((nn.Conv, nn.Dense), lambda: shapes(model, 299))
    widths = {}
    for layer in layers:
        weights = layer.kernel_init(jax.random.key(0), (1, 1, 64, 256), jnp.float32)
        widths.setdefault(round(float(np.abs(weights).max()) / 2, 4), []).append(layer.path)
    assert widths.pop(0.01) == [("aux1_head", "conv2", "conv")]
    assert widths.pop(0.001) == [("aux1_head", "classifier")]
    assert [sorted(widths), len(widths[0.1])] == [[0.1], len(layers) - 2]


def test_transformed_input_is_that_of_pixels_from_minus_one_to_one():
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))

    class ReachedError(Exception):
        pass

    def stop_in_front_of_the_stem(method, args, kwargs, context):
        if context.module.name == "stem":
            raise ReachedError(args[0])
        return method(*args, **kwargs)

    pixels = np.random.default_rng(0).uniform(size=(1, 75, 75, 3))
    model = InceptionV3(transform_input=True, **SHORT)
    normalised = ((pixels - mean) / std).astype(np.float32)
    with nn.intercept_methods(stop_in_front_of_the_stem), pytest.raises(ReachedError) as reached:
        model.apply({}, normalised)
    np.testing.assert_allclose(reached.value.args[0], 2 * pixels - 1, atol=1e-5)
    with pytest.raises(UserError, match="1 channels"):
        shapes(model, channels=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v2", "inception_v3"])
def test_smallest_image(name):
    shapes(create_model(name), 75)
    with pytest.raises(UserError, match="75x75 or larger"):
        shapes(create_model(name), 74)
