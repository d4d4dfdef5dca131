"""Networks with the structure of the ONNX model zoo's files; onnxruntime is the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jaxcnn.errors import UserError
from jaxcnn.interop import from_onnx
from jaxcnn.interop.exchange import create_library_model
from jaxcnn.interop.name_tables import ONNX
from jaxcnn.interop.transfer import swap_input_channels
from jaxcnn.models import create_model, input_size
from jaxcnn.models.googlenet import Widths
from jaxcnn.pretrained.weights_info import list_pretrained, weights_info
from tests.interop import onnx_files
from tests.interop.onnx_files import Writer

LRN = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
CAFFE_POOL = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (0, 0, 1, 1)}
FULL_POOL = {"kernel_shape": (3, 3), "strides": (2, 2)}
FEATURES = (8, 12, 16, 12, 8)
ALEXNET = {"features": FEATURES, "pool_size": (2, 2), "hidden_features": (16, 12)}
ZFNET = {"features": FEATURES, "pool_size": (2, 2), "hidden_features": (16, 12)}
MODULE = Widths(4, 2, 4, 2, 4, 4)


def bgr_images(size):
    """Caffe's: blue first, 0 to 255 minus the mean."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, size, size, 3))
    return (pixels - np.array([103.939, 116.779, 123.68])).astype(np.float32)


def hidden_layers(w, x, features):
    """Three dense layers as Caffe2 has them, with dropout; returns the logits."""
    x = w.flat(x, features)
    for inputs, outputs in ((features, 16), (16, 12)):
        x = w.node("Dropout", w.relu(w.dense(x, inputs, outputs)))
    return w.dense(x, 12, 10)


def alexnet(pool_first, pools):
    """bvlc_alexnet or, with pools first, CaffeNet; 96 pixels leave maps of 22, 11 and 5."""
    w = Writer((3, 96, 96))
    x = w.relu(w.conv("images", 8, 11, strides=(4, 4)))
    for features, group, pool in ((12, 2, pools[0]), (16, 1, pools[1])):
        steps = [("LRN", LRN), ("MaxPool", pool)]
        for kind, fields in steps[:: -1 if pool_first else 1]:
            x = w.node(kind, x, **fields)
        kernel_size = 5 if features == 12 else 3
        x = w.relu(w.conv(x, features, kernel_size, group=group, pads=kernel_size // 2))
    for features in (12, 8):
        x = w.relu(w.conv(x, features, 3, group=2, pads=1))
    return w, hidden_layers(w, w.node("MaxPool", x, **pools[2]), 8 * 2 * 2)


def zfnet512():
    w = Writer((3, 95, 95))
    x = "images"
    for features, kernel_size in ((8, 7), (12, 5)):
        x = w.relu(w.conv(x, features, kernel_size, strides=(2, 2)))
        x = w.node("MaxPool", w.node("LRN", x, **LRN), **FULL_POOL)
    for features in (16, 12, 8):
        x = w.relu(w.conv(x, features, 3, pads=1))
    return w, hidden_layers(w, w.node("MaxPool", x, **CAFFE_POOL), 8 * 2 * 2)


def googlenet():
    w = Writer((3, 64, 64))
    x = w.node("MaxPool", w.relu(w.conv("images", 64, 7, pads=3, strides=(2, 2))), **CAFFE_POOL)
    x = w.relu(w.conv(w.node("LRN", x, **LRN), 64, 1))
    x = w.node("LRN", w.relu(w.conv(x, 192, 3, pads=1)), **LRN)
    for _ in range(3):
        x = w.node("MaxPool", x, **CAFFE_POOL)
        pool = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
        branches = (  # in another order than ours
            w.relu(w.conv(w.node("MaxPool", x, **pool), MODULE.pool_proj, 1)),
            w.relu(w.conv(w.relu(w.conv(x, MODULE.reduce5x5, 1)), MODULE.conv5x5, 5, pads=2)),
            w.relu(w.conv(w.relu(w.conv(x, MODULE.reduce3x3, 1)), MODULE.conv3x3, 3, pads=1)),
            w.relu(w.conv(x, MODULE.conv1x1, 1)),
        )
        x = w.node("Concat", *branches[::-1], axis=1, channels=16)
    x = w.node("AveragePool", x, kernel_shape=(2, 2), strides=(1, 1))
    return w, w.dense(w.flat(w.node("Dropout", x), 16), 16, 10)


def caffe2_resnet50(pool, stride_first=True):
    """He's bottlenecks; one unit in each of two stages."""
    w = Writer((3, 64, 64))
    x = w.relu(w.norm(w.conv("images", 4, 7, pads=3, strides=(2, 2))))
    x = w.node("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=pool)
    for features, stride in ((4, 1), (8, 2)):
        first, second = (stride, 1) if stride_first else (1, stride)
        y = w.relu(w.norm(w.conv(x, features, 1, bias=False, strides=(first, first))))
        y = w.relu(w.norm(w.conv(y, features, 3, bias=False, pads=1, strides=(second, second))))
        y = w.norm(w.conv(y, 4 * features, 1, bias=False))
        shortcut = w.norm(w.conv(x, 4 * features, 1, bias=False, strides=(stride, stride)))
        x = w.relu(w.node("Sum", y, shortcut))
    x = w.node("AveragePool", x, kernel_shape=(8, 8))
    return w, w.dense(w.flat(x, 32), 32, 10)


def gluon_head(w, x, features):
    x = w.node("Flatten", w.node("GlobalAveragePool", x))
    return w, w.dense(x, features, 10)


def gluon_v1():
    """MXNet's bottlenecks, whose 1x1 convolutions have biases."""
    w = Writer((3, 64, 64), opset=7)
    x = w.relu(w.norm(w.conv("images", 4, 7, bias=False, pads=3, strides=(2, 2))))
    x = w.node("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    for features, stride in ((4, 1), (8, 2)):
        strides = (stride, stride)
        y = w.relu(w.norm(w.conv(x, features, 1, strides=strides)))
        y = w.relu(w.norm(w.conv(y, features, 3, bias=False, pads=1)))
        y = w.norm(w.conv(y, 4 * features, 1))
        shortcut = w.norm(w.conv(x, 4 * features, 1, bias=False, strides=strides))
        x = w.relu(w.node("Add", y, shortcut))
    return gluon_head(w, x, 32)


def gluon_v2():
    """A BatchNorm of the images, one in the stem, and one in the first unit, too."""
    w = Writer((3, 64, 64), opset=7)
    x = w.conv(w.norm("images"), 4, 7, bias=False, pads=3, strides=(2, 2))
    x = w.relu(w.norm(x))
    x = w.node("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    for features, stride in ((4, 1), (8, 2)):
        strides, activated = (stride, stride), w.relu(w.norm(x))
        if stride > 1:
            x = w.conv(activated, features, 1, bias=False, strides=strides)
        y = w.conv(activated, features, 3, bias=False, pads=1, strides=strides)
        y = w.conv(w.relu(w.norm(y)), features, 3, bias=False, pads=1)
        x = w.node("Add", y, x)
    return gluon_head(w, w.relu(w.norm(x)), 8)


PARTLY = (CAFFE_POOL, FULL_POOL, FULL_POOL)
CEIL = (FULL_POOL | {"ceil_mode": 1},) * 3
STAGES = {"stage_sizes": (1, 1), "width": 4}
BELOW = {"padding": 0, "ceil_mode": True, "lrn": (5, 1.0, 2e-5, 0.75)}
CASES = {
    "alexnet": (alexnet, (False, PARTLY), "alexnet", ALEXNET, BELOW),
    "alexnet_ceil": (alexnet, (False, CEIL), "alexnet", ALEXNET, BELOW),
    "caffenet": (alexnet, (True, PARTLY), "caffenet", ALEXNET, BELOW | {"pool_first": True}),
    "zfnet512": (zfnet512, (), "zfnet512", ZFNET, {"lrn": BELOW["lrn"]}),
    "googlenet": (googlenet, (), "googlenet", {"modules": ((MODULE,),) * 3}, {}),
    "resnet50_v1": (caffe2_resnet50, ((1, 1, 1, 1),), "resnet50_v1", STAGES, {"ceil_pool": False}),
    "ceil_pool": (caffe2_resnet50, ((0, 0, 1, 1),), "resnet50_v1", STAGES, {"ceil_pool": True}),
    "resnet50": (caffe2_resnet50, ((1, 1, 1, 1), False), "resnet50", STAGES, {}),
    "gluon_v1": (gluon_v1, (), "resnet50_v1", STAGES, {}),
    "gluon_v2": (
        gluon_v2,
        (),
        "resnet18_v2",
        STAGES,
        {"image_norm": True, "first_preactivation": True, "stem_norm": True},
    ),
}


SLOW = ("alexnet_ceil", "googlenet", "resnet50_v1", "resnet50")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES]
)
def test_the_logits_are_those_of_onnxruntime(case):
    write, arguments, name, fields, read = CASES[case]
    w, logits = write(*arguments)
    file = w.model(w.node("Softmax", logits))
    network, variables = from_onnx(file, name, **fields)
    assert {field: getattr(network, field) for field in read} == read
    images = bgr_images(w.shape[1])
    expected = onnx_files.run(w.model(logits), images)
    found = onnx_files.apply(network, variables, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["alexnet", pytest.param("gluon_v2", marks=pytest.mark.slow)])
def test_swapped_channels_take_images_in_the_other_order(case):
    write, arguments, name, fields, _ = CASES[case]
    w, logits = write(*arguments)
    network, variables = from_onnx(w.model(logits), name, **fields)
    swapped = swap_input_channels(network, variables)
    before, after = (traverse_util.flatten_dict(tree, sep="/") for tree in (variables, swapped))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    norms = {path for path in before if "image_norm" in path}
    stem = {"alexnet": "params/stage1/conv/kernel", "gluon_v2": "params/stem/conv/kernel"}[case]
    assert changed == norms | {stem}
    images = bgr_images(w.shape[1])
    expected = onnx_files.apply(network, variables, images)
    found = onnx_files.apply(network, swapped, images[..., ::-1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_channels_that_the_network_knows_are_not_swapped():
    network = create_model("googlenet_torchvision", transform_input=True, modules=((MODULE,),) * 3)
    with pytest.raises(UserError, match="cannot be swapped: multiply"):
        swap_input_channels(network, _shapes(network, 64))


def test_only_three_channels_are_swapped():
    network = create_model("vgg11", stage_sizes=(1,), stage_features=(4,), hidden_features=())
    with pytest.raises(UserError, match="no images of three channels"):
        swap_input_channels(network, _shapes(network, 32, channels=1))


def _shapes(network, size, channels=3):
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), images)


GLUON_V2 = {"image_norm": True, "first_preactivation": True}
# Floats of biases in front of BatchNorm, which Gluon has in its 1x1 convolutions: 5c for each unit
# of c features. Caffe2's network has 64 in its stem.
BIASES = {
    "resnet101_v1.gluon_onnx_in1k": 5 * (3 * 64 + 4 * 128 + 23 * 256 + 3 * 512),
    "resnet152_v1.gluon_onnx_in1k": 5 * (3 * 64 + 8 * 128 + 36 * 256 + 3 * 512),
    "resnet50_v1.caffe2_in1k": 64,
}
FILES = [name for name in list_pretrained() if weights_info(name).library == "onnx"]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("resnet")) for name in FILES],
)
def test_the_arrays_fill_the_published_file(name):
    info = weights_info(name)
    fields = GLUON_V2 if info.model.endswith("_v2") else {}
    network = create_library_model("onnx", info.library_name, **fields)
    arrays = jax.tree.leaves(_shapes(network, input_size(info.model)[0]))
    floats = sum(leaf.size for leaf in arrays) + BIASES.get(name, 0)
    # A name, a shape and a share of the nodes for each array.
    assert 150 < (info.bytes - 4 * floats) / len(arrays) < 260


def test_the_zoo_s_files_are_known_by_name():
    assert len(FILES) >= 14
    assert {weights_info(name).library_name for name in FILES} <= ONNX.keys()
