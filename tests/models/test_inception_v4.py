from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.layers.inception_blocks import Layer, fork
from jaxcnn.models.inception_v4 import ResidualBranches
from tests.marks import exhaustive, slow

NAMES = [
    "inception_v4",
    "inception_resnet_v1",
    "inception_resnet_v2",
    "inception_resnet_v2_paper",
]


def images(size):
    return jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)


def shapes(model, size=75):
    return jax.eval_shape(model.init, jax.random.key(0), images(size))


def kernels(params):
    return {
        "/".join(part for part in path[:-1] if part != "conv"): leaf.shape
        for path, leaf in traverse_util.flatten_dict(params).items()
        if path[-1] == "kernel"
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "widths", "blocks", "pooled"),
    [
        ("inception_v4", (384, 1024, 1536), (4, 7, 3), 1536),
        ("inception_resnet_v1", (256, 896, 1792), (5, 10, 5), 1792),
        slow("inception_resnet_v2", (320, 1088, 2080), (10, 20, 10), 1536),
        ("inception_resnet_v2_paper", (384, 1152, 2144), (5, 10, 5), 2144),
    ],
)
def test_maps_of_the_tables(name, widths, blocks, pooled):
    model = create_model(name, 0)
    run = partial(model.init_with_output, capture_intermediates=True, mutable=True)
    features, state = jax.eval_shape(run, jax.random.key(0), images(299))
    maps = state["intermediates"]
    assert features.shape == (2, pooled)
    assert maps["stem"]["__call__"][0].shape == (2, 35, 35, widths[0])
    assert ("last" in maps) == (name == "inception_resnet_v2")
    for number, size in enumerate((35, 17, 8)):
        stage = maps[f"stage{number + 1}"]
        first = {"reduction"} if number else set()
        names = {f"block{i + 1}" for i in range(blocks[number])}
        assert set(stage) == {"__call__"} | first | names
        for part in first | names:
            assert stage[part]["__call__"][0].shape == (2, size, size, widths[number])


@pytest.mark.slow
def test_long_branches(trace):
    """1x7 before 7x1 in the stem, 3x1 before 1x3 in the modules of stage 3, as was released."""
    v4 = trace("inception_v4").variables["params"]
    assert kernels(v4["stem"]["fork5"]["branch2"]) == {
        "conv1": (1, 1, 160, 64),
        "conv2": (1, 7, 64, 64),
        "conv3": (7, 1, 64, 64),
        "conv4": (3, 3, 64, 96),
    }
    assert kernels(v4["stage3"]["block1"]["branch3"]) == {
        "conv1": (1, 1, 1536, 384),
        "conv2": (3, 1, 384, 448),
        "conv3": (1, 3, 448, 512),
        "fork4/branch1/conv1": (1, 3, 512, 256),
        "fork4/branch2/conv1": (3, 1, 512, 256),
    }
    v2 = trace("inception_resnet_v2").variables["params"]
    assert kernels(v2["stage2"]["block20"]) == {
        "branch1/conv1": (1, 1, 1088, 192),
        "branch2/conv1": (1, 1, 1088, 128),
        "branch2/conv2": (1, 7, 128, 160),
        "branch2/conv3": (7, 1, 160, 192),
        "expand": (1, 1, 384, 1088),
    }


@pytest.mark.parametrize("linear", [False, True])
def test_residual_module(linear, start):
    parts = {"conv": partial(Conv, use_bias=False), "norm": None, "act": nn.relu}
    net = ResidualBranches(fork([Layer(2)], [Layer(3)]), **parts, scale=0.3, linear=linear)
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    variables = start(net, x)
    params = variables["params"]
    branches = [params[f"branch{i}"]["conv1"]["conv"]["kernel"][0, 0] for i in (1, 2)]
    inner = np.concatenate([np.maximum(x @ kernel, 0) for kernel in branches], axis=-1)
    expand = params["expand"]
    assert expand["bias"].any()
    expected = x + 0.3 * (inner @ expand["kernel"][0, 0] + expand["bias"])
    if not linear:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(net.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_scales_of_the_stages(name):
    seen = {}

    def collect(method, args, kwargs, context):
        if isinstance(context.module, ResidualBranches) and context.method_name == "__call__":
            stage, _ = context.module.path
            seen.setdefault(stage, []).append((context.module.scale, context.module.linear))
        return method(*args, **kwargs)

    with nn.intercept_methods(collect):
        shapes(create_model(name))
        released = name == "inception_resnet_v2"
        sizes = (10, 20, 9) if released else (5, 10, 5)
        assert seen == {
            "stage1": sizes[0] * [(0.17, False)],
            "stage2": sizes[1] * [(0.10, False)],
            "stage3": sizes[2] * [(0.20, False)] + released * [(1.0, True)],
        }
        seen.clear()
        shapes(create_model(name, scales=(0.1, 0.2, 0.3), stage_sizes=(1, 0, 1), linear_last=False))
        assert seen == {"stage1": [(0.1, False)], "stage3": [(0.3, False)]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels"), [(NAMES[0], 1024), *map(exhaustive, NAMES[1:], (896, 1088, 1152))]
)
def test_auxiliary_head_reads_stage_2_and_runs_where_it_is_asked_for(name, channels):
    model = create_model(name, 7, aux_heads=True, stage_sizes=(0, 1, 0))
    variables = shapes(model, 299)
    assert set(variables) == {"params", "batch_stats"}
    kernel = variables["params"]["aux1_head"]["conv1"]["conv"]["kernel"]
    assert kernel.shape == (1, 1, channels, 128)

    def run(size, **kwargs):
        rngs = {"dropout": jax.random.key(0)}
        return jax.eval_shape(partial(model.apply, rngs=rngs, **kwargs), variables, images(size))

    for train in (False, True):
        _, state = run(299, train=train, mutable=["aux", "batch_stats"])
        assert {name: logits.shape for name, logits in state["aux"].items()} == {"aux1": (2, 7)}
    assert run(75).shape == (2, 7)
    with pytest.raises(UserError, match="aux_heads=False"):
        run(298, train=True, mutable=["batch_stats"])
    assert "aux1_head" not in shapes(model.clone(num_classes=0))["params"]
    assert "aux1_head" not in shapes(model.clone(aux_heads=False))["params"]


@pytest.mark.parametrize("name", NAMES)
def test_smallest_image(name):
    model = create_model(name, stage_sizes=(1, 1, 1))
    shapes(model, 75)
    with pytest.raises(UserError, match="75x75 or larger"):
        shapes(model, 74)


def test_without_shortcuts_the_scaled_input_is_gone():
    """A module whose last 1x1 is zero puts out its input, or nothing."""
    table = fork([Layer(2)], [Layer(2), Layer(2, 3)])
    x = jnp.ones((1, 4, 4, 3))
    for residual, expected in ((True, x), (False, 0 * x)):
        block = ResidualBranches(table, Conv, None, nn.relu, residual=residual)
        variables = block.init(jax.random.key(0), x)
        variables["params"]["expand"] = jax.tree.map(jnp.zeros_like, variables["params"]["expand"])
        np.testing.assert_array_equal(block.apply(variables, x), expected)
