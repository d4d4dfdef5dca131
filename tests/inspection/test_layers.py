"""The layers that pictures are of where none is named."""

import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.inspection import layers

SMALL = {"stage_sizes": (1, 1), "width": 4, "num_classes": 3}


@pytest.mark.parametrize(
    ("name", "fields", "shape", "expected"),
    [
        ("lenet5_modern", {}, (32, 32, 1), ["relu", "relu_2"]),  # behind c1 and c3
        (
            "nin_mnist",
            {},
            (28, 28, 1),
            ["stage1/relu_3", "stage2/relu_3", "stage3/relu_2", "relu"],
        ),
        (
            "cifar_resnet20",
            SMALL,
            (16, 16, 3),
            ["stem/relu", "stage1/block1/relu_2", "stage2/block1/relu_2"],
        ),
    ],
)
def test_a_stage_is_shown_behind_its_last_activation(name, fields, shape, expected):
    graph = trace_shapes(create_model(name, **fields), shape)
    assert list(layers.stage_layers(graph)) == expected


def test_many_stages_are_thinned_out_evenly():
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            for number in range(40):
                images = nn.relu(nn.Conv(2, (3, 3), name=f"block{number}")(images))
            return nn.Dense(2)(images.mean((1, 2)))

    graph = trace_shapes(Deep(), (6, 6, 1))
    assert len(layers.stage_layers(graph, 99)) == 40
    shown = layers.stage_layers(graph, 5)
    assert shown == ("relu", "relu_11", "relu_21", "relu_30", "relu_40")


def test_the_first_convolution_is_found_and_a_network_may_have_none():
    graph = trace_shapes(create_model("cifar_resnet20", **SMALL), (16, 16, 3))
    assert layers.first_convolution(graph).name == "stem/conv"
    dense = trace_shapes(nn.Sequential([lambda x: x.reshape(1, -1), nn.Dense(2)]), (4, 4, 1))
    assert layers.first_convolution(dense) is None


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("nin_mnist", (28, 28, 1), "relu"),
        ("cifar_resnet20", (16, 16, 3), ""),
        ("lenet5_modern", (32, 32, 1), ""),
    ],
)
def test_only_means_of_maps_make_maps_of_classes(name, shape, expected):
    graph = trace_shapes(create_model(name), shape)
    assert layers.class_maps_layer(graph) == expected
