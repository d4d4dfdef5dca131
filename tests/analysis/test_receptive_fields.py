"""Receptive fields: published values, and the support of the gradient."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.analysis import receptive_field
from jaxcnn.analysis.receptive_fields import of_graph
from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.models import create_model
from jaxcnn.models.registry import MODELS

# Of the last maps, by Araujo, Norris and Sim (Distill 2019); of resnet50, which strides in the 3x3
# convolution, and resnet200_v2 computed by hand.
PUBLISHED = {
    "vgg11": 150,
    "vgg16": 212,
    "alexnet_torchvision": 195,
    "inception_v3": 1311,
    "inception_v4": 2071,
    "inception_resnet_v2": 3039,
    "mobilenet_v1_100": 315,
    "resnet50": 427,
    "resnet50_v1": 483,
    "resnet101_v1": 1027,
    "resnet152_v1": 1507,
    "resnet200_v2": 1707,
}
QUICK = ("vgg11", "vgg16", "alexnet_torchvision", "mobilenet_v1_100", "resnet50", "resnet50_v1")


def fields_of(name):
    return receptive_field(create_model(name), MODELS[name].input_size)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.exhaustive) for n in PUBLISHED]
)
def test_published_sizes_of_the_last_maps(name):
    fields = fields_of(name)
    last = [field for field in fields.values() if field.stride[0]][-1]
    assert last.size == (PUBLISHED[name],) * 2


@pytest.mark.parametrize(
    ("name", "kinds", "sizes"),
    [
        ("vgg16", ("max_pool",), (6, 16, 44, 100, 212)),
        ("alexnet_torchvision", ("conv", "max_pool"), (11, 19, 51, 67, 99, 131, 163, 195)),
    ],
)
def test_published_sizes_of_all_layers(name, kinds, sizes):
    fields = fields_of(name)
    found = [
        field.size[0]
        for layer, field in fields.items()
        if any(kind in layer for kind in kinds) and field.stride[0]
    ]
    assert tuple(found) == sizes


def test_boxes_of_a_network_worked_out_by_hand():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Conv(2, (3, 3), padding=1, name="a")(x)
            wide = nn.Conv(2, (3, 1), (2, 2), padding=((1, 1), (0, 0)), kernel_dilation=(2, 1))
            return nn.Dense(3)(wide(x).reshape(x.shape[0], -1))

    fields = receptive_field(Two(), (9, 9, 1))
    assert fields["a"] == ((3, 3), (1, 1), (-1, -1))
    # Rows -1 to 3 of "a" for unit 0: pixels -2 to 4. Columns: its own.
    assert fields["Conv_0"] == ((7, 3), (2, 2), (-2, -1))
    assert fields["Conv_0"].box(1, 2) == (0, 3, 7, 6)
    assert fields["Dense_0"].stride == (0, 0)
    assert fields["Dense_0"].start == (-2, -1)


SMALL = {
    "lenet5": ({}, (24, 24, 1)),
    "lenet5_modern": ({}, (24, 24, 1)),
    "cifar_resnet20": ({"stage_sizes": (1, 1), "width": 4}, (24, 24, 2)),
    "cifar_resnet110_v2": ({"stage_sizes": (1, 1), "width": 4}, (24, 24, 2)),
    "densenet_40_12": ({"stage_sizes": (2, 2), "growth_rate": 3}, (24, 24, 2)),
    "nin_cifar10": ({}, (32, 32, 3)),
    "mobilenet_v1_025": ({"stage_sizes": (1, 1), "features": (4, 4, 8)}, (48, 48, 3)),
    "vgg11": ({"stage_sizes": (1, 2), "stage_features": (4, 4), "pool_size": (2, 2)}, (32, 32, 3)),
    "highway_cifar10": ({}, (24, 24, 3)),
    "dsn_cifar10": ({}, (32, 32, 3)),
    "fractalnet_narrow_c2": ({}, (32, 32, 3)),
    "googlenet": ({}, (96, 96, 3)),
    "inception_v3": ({}, (107, 107, 3)),
    "inception_v4": ({}, (107, 107, 3)),
    "bn_inception": ({}, (96, 96, 3)),
    "alexnet": ({}, (99, 99, 3)),
    "zfnet": ({}, (99, 99, 3)),
    "resnext29_8x64d": ({"stage_sizes": (1, 1)}, (24, 24, 3)),
    "ladder_conv_large_gamma": ({}, (32, 32, 3)),
}
QUICK_SMALL = ("lenet5", "cifar_resnet20", "densenet_40_12", "mobilenet_v1_025", "vgg11")


def mean_instead(detail, maximum, x):
    """Takes the mean over the windows of a max-pool, "3x3, stride 2, padding 0-1"."""
    size, *rest = detail.split(", ")
    moves = dict(part.split() for part in rest)
    window = tuple(map(int, size.split("x")))
    strides = [*map(int, moves.get("stride", "1").split("x"))] * 2
    sides = moves.get("padding", "0").split("x") * 2
    pads = [(int(side.split("-")[0]), int(side.split("-")[-1])) for side in sides[:2]]
    return nn.avg_pool(x, window, tuple(strides[:2]), pads)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n if n in QUICK_SMALL else pytest.param(n, marks=pytest.mark.exhaustive) for n in SMALL],
)
def test_the_field_is_the_support_of_the_gradient(name):
    """All weights are positive, activations the identity, pools take means: nothing cancels."""
    overrides, shape = SMALL[name]
    model = create_model(name, **overrides)
    images = jnp.ones((1, *shape), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(  # the mean of the inputs: values stay finite in deep networks
        lambda array: jnp.full(array.shape, 1 / max(math.prod(array.shape[:-1]), 2)), shapes
    )
    if "batch_stats" in variables:
        ones = {"var": 1.0, "mean": 0.0}
        variables["batch_stats"] = jax.tree_util.tree_map_with_path(
            lambda path, array: jnp.full(array.shape, ones[path[-1].key]), shapes["batch_stats"]
        )
    graph = trace(model, variables, images)
    maps = [node for node in graph.nodes if len(node.shape) == 3 and min(node.shape[:2]) > 1]
    chosen = maps[:: max(len(maps) // 6, 1)]
    rules = dict.fromkeys(("relu", "tanh", "local_response_norm", "leaky_relu"), lambda f, x: x)
    pools = [node for node in graph.nodes if node.kind == "max_pool"]
    rules |= {node.name: partial(mean_instead, node.detail) for node in pools}

    def of_images(images):
        keep = tuple(node.name for node in chosen)
        return graph.run(variables, images, keep=keep, rules=rules)[1]

    kept, pull = jax.vjp(jax.jit(of_images), images)
    pull, fields = jax.jit(pull), of_graph(graph)
    for node in chosen:
        height, width, _ = node.shape
        for row, column in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
            asked = {one: jnp.zeros_like(array) for one, array in kept.items()}
            asked[node.name] = asked[node.name].at[:, row, column].set(1)
            (gradient,) = pull(asked)
            rows, columns = np.nonzero(np.abs(gradient).sum((0, 3)))
            top, left, bottom, right = fields[node.name].box(row, column)
            where = (node.name, row, column)
            assert np.isfinite(gradient).all()
            assert (rows.min(), columns.min()) == (max(top, 0), max(left, 0)), where
            for end, found, side in ((bottom, rows, shape[0]), (right, columns, shape[1])):
                if end <= side:
                    assert found.max() + 1 == end, where
                else:  # windows that do not fit leave pixels at this edge unused
                    assert side - 16 < found.max() + 1 <= side, where
