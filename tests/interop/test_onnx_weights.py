"""Files that torch exported give torch's logits; files of other networks are refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from jaxcnn.errors import UserError
from jaxcnn.interop import from_onnx, from_torch
from jaxcnn.models.googlenet import Widths
from tests.interop import onnx_files

RESNET = {"stage_sizes": (1, 2, 1, 1), "width": 4}
RESNEXT = {"stage_sizes": (1, 1, 1, 1), "width": 2, "cardinality": 2, "base_width": 64}
DENSENET = {"growth_rate": 4, "stage_sizes": (2, 2), "stem_features": 8}
VGG = {
    "stage_sizes": (1, 2),
    "stage_features": (4, 8),
    "pool_size": (2, 2),
    "hidden_features": (16, 12),
}
ALEXNET = {"features": (8, 12, 16, 12, 8), "pool_size": (2, 2), "hidden_features": (16, 12)}
WIDTHS = Widths(4, 2, 4, 2, 4, 4)
MODULES = (2 * (WIDTHS,), 5 * (WIDTHS,), 2 * (WIDTHS,))
# Sides of the images.
LARGE = {
    **dict.fromkeys(("resnet50", "densenet121", "googlenet_torchvision"), 64),
    **dict.fromkeys(("mobilenetv1_100", "resnetv2_50"), 64),
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 96),
    **dict.fromkeys(("vgg16_bn", "alexnet_torchvision"), 224),
}
NETWORKS = {
    "resnet": ("resnet18", RESNET),
    "resnext": ("resnext50_32x4d", RESNEXT),
    "densenet": ("densenet121", DENSENET),
    "vgg": ("vgg11_bn", VGG),
    "alexnet": ("alexnet_torchvision", ALEXNET),
}
KINDS = ("folded", "kept", "dynamo")
SLOW = [("resnet", "dynamo"), ("resnext", "folded"), ("resnext", "kept")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.slow] if (name, kind) in SLOW else [])
        for name in NETWORKS
        for kind in KINDS
        if (name, kind) != ("alexnet", "kept")
    ],
)
def test_the_logits_are_torch_s(name, kind):
    file, images, logits = onnx_files.reference(name, kind)
    ours, fields = NETWORKS[name]
    found = onnx_files.apply(*from_onnx(file, ours, **fields), images)
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)


def vgg(**arrays):
    file, *_ = onnx_files.reference("vgg", "kept")
    return onnx_files.with_arrays(file, **arrays)


def refused(file, *parts, name="vgg11_bn", **fields):
    with pytest.raises(UserError) as info:
        from_onnx(file, name, **(VGG | fields))
    message = str(info.value)
    assert message.isprintable()
    for part in parts:
        assert part in message


def test_other_sizes_are_named_with_missing_and_superfluous_kernels():
    refused(
        vgg(),
        "this is no ONNX file of our vgg11_bn: our stage2/conv1 is conv 3x3, 16, padding 1, and",
        "in the file is conv 3x3, 8, padding 1",
        "missing: stage2/conv1 (16, 4, 3, 3), stage2/conv2 (16, 16, 3, 3)",
        "not used: /features/features.4/Conv (8, 4, 3, 3)",
        "takes its fields",
        stage_features=(4, 16),
    )


def test_what_only_one_network_has_is_named():
    refused(vgg(), "our stage2/conv3 is conv 3x3", "is max_pool 2x2", stage_sizes=(1, 3))
    refused(vgg(), "our max_pool_2 is max_pool 2x2", "is conv 3x3", stage_sizes=(1, 1))
    refused(vgg(), "our classifier is dense 7, and", "is dense 10", num_classes=7)


def test_a_file_with_norms_is_none_of_a_network_without():
    refused(vgg(), "3 not used: the BatchNorm after", name="vgg11")
    folded, *_ = onnx_files.reference("vgg", "folded")
    network, _ = from_onnx(folded, "vgg11", **VGG)
    assert network.norm is None


def test_arrays_that_nothing_takes_are_named():
    more = np.zeros((3, 2), np.float32)
    refused(vgg(more=more), "1 not used: more (3, 2)")
    from_onnx(vgg(**{"bn1.num_batches_tracked": np.array(3)}), "vgg11_bn", **VGG)


def test_a_bias_without_a_place_is_named():
    file, *_ = onnx_files.reference("densenet", "kept")
    last = [node for node in file.graph.node if node.op_type == "Conv"][-1]
    last.input.append("b")
    file = onnx_files.with_arrays(file, b=np.ones(4, np.float32))
    with pytest.raises(UserError, match=f"1 not used: the bias of {last.name}"):
        from_onnx(file, "densenet121", **DENSENET)


def test_the_classifier_may_be_left_out_or_missing():
    file, images, _ = onnx_files.reference("densenet", "dynamo")
    headless = onnx.ModelProto.FromString(file.SerializeToString())
    head = headless.graph.node.pop()
    headless.graph.output[0].name = head.input[0]
    headless = onnx_files.with_arrays(headless, **dict.fromkeys(head.input[1:]))
    with pytest.raises(UserError, match=r"instead of a classifier: .* by num_classes=0"):
        from_onnx(headless, "densenet121", **DENSENET)
    trees = []
    for given in (file, headless):
        network, variables = from_onnx(given, "densenet121", **DENSENET, num_classes=0)
        assert "classifier" not in variables["params"]
        trees.append(variables)
    chex.assert_trees_all_equal(*trees)
    assert jax.eval_shape(network.apply, variables, images).shape == (2, 16)


def test_other_channels_and_types_are_read():
    file, *_ = onnx_files.reference("vgg", "folded")
    first = file.graph.node[0]
    kernel = onnx_files.arrays_of(file)[first.input[1]]
    grey = onnx_files.with_arrays(file, **{first.input[1]: kernel.sum(1, keepdims=True)})
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    network, variables = from_onnx(grey, "vgg11_bn", **VGG, dtype=jnp.bfloat16)
    assert network.dtype == jnp.bfloat16
    assert variables["params"]["stage1"]["conv1"]["kernel"].shape == (3, 3, 1, 4)
    np.testing.assert_array_equal(
        variables["params"]["stage1"]["conv1"]["kernel"],
        kernel.sum(1, keepdims=True).transpose(2, 3, 1, 0),
    )


def test_names_and_fields_are_checked_before_the_file():
    with pytest.raises(UserError, match=r"no table for onnx's 'resnet81': .*resnet18"):
        from_onnx("missing.onnx", "resnet81")
    with pytest.raises(UserError, match="no field 'stage_size'"):
        from_onnx("missing.onnx", "resnet18", stage_size=(1, 1))
    with pytest.raises(UserError, match="read them by from_onnx"):
        from_torch({}, "onnx", "resnet18")


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["folded", "dynamo"])
@pytest.mark.parametrize("name", LARGE)
def test_networks_of_the_libraries_are_read_whole(name, kind):
    file = onnx_files.graph(name, kind)
    size = LARGE[name]
    images = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype(np.float32)
    expected = onnx_files.run(file, images)
    found = onnx_files.apply(*from_onnx(file, name), images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folded", "dynamo"])
def test_googlenet_s_images_are_transformed_as_in_the_file(kind):
    file, images, logits = onnx_files.reference("googlenet", kind)
    network, variables = from_onnx(file, "googlenet_torchvision", modules=MODULES)
    assert network.transform_input
    found = onnx_files.apply(network, variables, images)
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
