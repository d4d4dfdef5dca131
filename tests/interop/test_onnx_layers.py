"""Every way to write a layer is read as the layer that it computes."""

import chex
import numpy as np
import pytest
from flax import linen as nn
from onnx import helper

from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.errors import UserError
from jaxcnn.interop import from_onnx
from jaxcnn.interop.onnx_reader.compare import pair, with_norms
from jaxcnn.interop.onnx_reader.file import read_onnx
from jaxcnn.interop.onnx_reader.layers import onnx_layers
from jaxcnn.interop.onnx_reader.traced import traced_layers
from jaxcnn.layers.conv import Conv
from jaxcnn.ops.pool import avg_pool, max_pool
from tests.interop import onnx_files
from tests.interop.onnx_files import Writer

TINY = {"stage_sizes": (1,), "stage_features": (4,), "pool_size": (2, 2), "hidden_features": ()}
POOL = {"kernel_shape": (2, 2), "strides": (2, 2)}


class Single(nn.Module):
    """One operation on the images."""

    operation: object

    @nn.compact
    def __call__(self, images, train=False):
        return self.operation(images)


def layers_of(w, output):
    return with_norms(onnx_layers(read_onnx(w.model(output)), w.shape, "NCHW"))


def ours(operation, shape):
    return with_norms(traced_layers(trace_shapes(Single(operation), (*shape[1:], shape[0]))))


def is_same(one, other):
    try:
        pair(one, other)
    except UserError:
        return False
    return True


STRIDED = {"kernel_shape": (3, 3), "strides": (2, 2)}
# Arguments of our pools beside fields of the node.
POOLS = (
    (((3, 3), (2, 2), 1), STRIDED | {"pads": (1, 1, 1, 1)}),
    (((3, 3), (2, 2), 0), STRIDED),
    (((3, 3), (2, 2), 0, True), STRIDED | {"ceil_mode": 1}),
    (((3, 3), (2, 2), "SAME"), STRIDED | {"auto_pad": "SAME_UPPER"}),
    (((3, 3), (1, 1), 1), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
    (((2, 2), (2, 2), 0), {"kernel_shape": (2, 2), "strides": (2, 2)}),
    (
        ((3, 2), (1, 2), ((1, 0), (0, 1))),
        {"kernel_shape": (3, 2), "strides": (1, 2), "pads": (1, 0, 0, 1)},
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(7, marks=pytest.mark.slow), 8])
@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("MaxPool", "AveragePool")),
        "counted",
    ],
)
def test_pools_are_equal_if_they_compute_the_same(kind, size):
    shape = (3, size, size)
    images = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    counted = {"count_include_pad": 1} if kind == "counted" else {}
    more = {} if kind == "MaxPool" else {"count_include_pad": kind == "counted"}
    operator = "MaxPool" if kind == "MaxPool" else "AveragePool"
    found = []
    for number, (arguments, fields) in enumerate(POOLS):
        w = Writer(shape, opset=19)
        output = w.node(operator, "images", **fields, **counted)
        pool = max_pool if kind == "MaxPool" else avg_pool
        operation = lambda x, pool=pool, given=arguments: pool(x, *given, **more)  # noqa: E731
        one, other = ours(operation, shape), layers_of(w, output)
        expected = onnx_files.run(w.model(output), images).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(operation(images), expected, rtol=1e-6)
        assert is_same(one, other), number
        found.append((one, expected))
    for i, (one, here) in enumerate(found):
        for other, there in found[:i]:
            equal = here.shape == there.shape and np.allclose(here, there)
            assert is_same(one, other) == equal


def test_averages_that_count_other_pixels_differ():
    shape = (3, 8, 8)
    window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    for counts in (True, False):
        w = Writer(shape)
        output = w.node("AveragePool", "images", **window, count_include_pad=int(counts))
        for own in (True, False):
            pool = lambda x, own=own: avg_pool(x, (3, 3), None, 1, count_include_pad=own)  # noqa: E731
            assert is_same(ours(pool, shape), layers_of(w, output)) == (own == counts)


@pytest.mark.parametrize(
    ("own", "fields", "equal"),
    [
        ({"padding": 1}, {"pads": (1, 1, 1, 1)}, True),
        ({"padding": 1}, {"pads": (0, 0, 2, 2)}, False),
        ({"padding": 1, "strides": 2}, {"pads": (1,) * 4, "strides": (2, 2)}, True),
        ({"padding": 1, "strides": 2}, {"auto_pad": "SAME_UPPER", "strides": (2, 2)}, False),
        ({"padding": "SAME", "strides": 2}, {"auto_pad": "SAME_UPPER", "strides": (2, 2)}, True),
        ({"padding": ((1, 0), (1, 0))}, {"pads": (1, 1, 0, 0)}, True),
        # The last row and column of the padding are in no window.
        (
            {"padding": ((1, 0), (1, 0)), "strides": 2},
            {"pads": (1, 1, 1, 1), "strides": (2, 2)},
            True,
        ),
        ({"padding": 2, "kernel_dilation": 2}, {"pads": (2, 2, 2, 2), "dilations": (2, 2)}, True),
        ({"padding": 2, "kernel_dilation": 2}, {"pads": (1, 1, 1, 1)}, False),
        ({"padding": 1, "feature_group_count": 2}, {"pads": (1, 1, 1, 1), "group": 2}, True),
        ({"padding": 1, "feature_group_count": 2}, {"pads": (1, 1, 1, 1), "group": 4}, False),
    ],
)
def test_convolutions_are_equal_if_their_windows_are(own, fields, equal):
    shape = (4, 8, 8)
    w = Writer(shape)
    layers = layers_of(w, w.conv("images", 8, 3, **fields))
    assert is_same(ours(lambda x: Conv(8, (3, 3), **own)(x), shape), layers) == equal


def head(w, x):
    return w.dense(w.node("Flatten", x), 16, 3)


def body(w, x="images", **fields):
    return w.node("MaxPool", w.relu(w.norm(w.conv(x, 4, 3, pads=1), **fields)), **POOL)


def plain(w):
    return head(w, body(w))


def other_epsilon(w):
    return head(w, body(w, epsilon=0.03))


def training(w):
    return head(w, body(w, momentum=0.5))


def folded(w):
    return head(w, w.node("MaxPool", w.relu(w.conv("images", 4, 3, pads=1)), **POOL))


def without_biases(w):
    x = w.relu(w.norm(w.conv("images", 4, 3, bias=False, pads=1)))
    x = w.node("Flatten", w.node("MaxPool", x, **POOL))
    return w.node("Gemm", x, w.array(w.rng.random((3, 16))), transB=1)


def caffe_scale(w):
    """BatchNorm without scale, then a product and a sum with vectors of other axes."""
    x = w.norm(w.conv("images", 4, 3, pads=1))
    for kind in ("Mul", "Add"):
        vector = w.node("Unsqueeze", w.array(w.rng.random(4) + 0.5), w.array([1, 2], np.int64))
        x = w.node(kind, x, vector)
    return head(w, w.node("MaxPool", w.relu(x), **POOL))


def arithmetic(w):
    """A convolution, a bias, a division and a difference instead of BatchNorm."""
    x = w.conv("images", 4, 3, bias=False, pads=1)
    for kind in ("Add", "Div", "Sub"):
        x = w.node(kind, x, w.array(w.rng.random((1, 4, 1, 1)) + 0.5))
    return head(w, w.node("MaxPool", w.relu(x), **POOL))


def products(w):
    x = w.node("Flatten", body(w))
    kernel, bias = w.array(w.rng.random((16, 3))), w.array(w.rng.random((1, 3)))
    return w.node("Gemm", x, kernel, bias, alpha=0.5, beta=2.0)


def matrix(w):
    shape = w.array([0, -1], np.int64)
    x = w.node("MatMul", w.node("Reshape", body(w), shape), w.array(w.rng.random((16, 3))))
    return w.node("Add", w.array(w.rng.random(3)), x)


def computed_shape(w):
    x = body(w)
    first = w.node("Gather", w.node("Shape", x), w.array(0, np.int64), axis=0)
    first = w.node("Unsqueeze", first, w.array([0], np.int64))
    shape = w.node("Concat", first, w.array([-1], np.int64), axis=0)
    return w.dense(w.node("Reshape", x, shape), 16, 3)


def convolutional_head(w):
    x = w.conv(body(w), 3, 2)
    return w.node("Squeeze", x, w.array([2, 3], np.int64))


def unchanged(w):
    x = w.node("Identity", w.node("Cast", "images", to=1, channels=3))
    x = w.node("Dropout", w.node("Pad", body(w, x), w.array([0] * 8, np.int64)))
    return w.node("Identity", head(w, x))


def transposed_constant(w):
    kernel = w.node("Transpose", w.array(w.rng.random((16, 3))), perm=(1, 0))
    return w.node("Gemm", w.node("Flatten", body(w)), w.node("Identity", kernel), transB=1)


def averaged_head(w):
    """A vector that becomes a map (N, H, W, C) for a last convolution, as in Keras."""
    x = w.node("Squeeze", w.node("GlobalAveragePool", body(w)), w.array([2, 3], np.int64))
    x = w.node("Reshape", x, w.array([-1, 1, 1, 4], np.int64))
    x = w.conv(w.node("Transpose", x, perm=(0, 3, 1, 2)), 3, 1)
    return w.node("Reshape", x, w.array([-1, 3], np.int64))


def explicit_padding(w):
    pads = w.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    x = w.node("Pad", "images", pads, channels=3)
    return head(w, w.node("MaxPool", w.relu(w.norm(w.conv(x, 4, 3))), **POOL))


WRITERS = (
    *(plain, other_epsilon, training, folded, without_biases, caffe_scale, arithmetic, products),
    *(matrix, computed_shape, convolutional_head, unchanged, transposed_constant),
    *(explicit_padding, averaged_head),
)


@pytest.mark.parametrize("write", WRITERS)
def test_each_form_of_one_network_is_read(write):
    w = Writer((3, 4, 4))
    file = w.model(write(w))
    fields = TINY | ({"pool_size": (1, 1)} if write is averaged_head else {})
    network, variables = from_onnx(file, "vgg11_bn", **fields)
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3)).astype(np.float32)
    found = network.apply(variables, images)
    np.testing.assert_allclose(found, onnx_files.run(file, images), rtol=1e-5, atol=1e-5)


def test_the_file_s_epsilon_is_the_network_s():
    w = Writer((3, 4, 4))
    network, _ = from_onnx(w.model(other_epsilon(w)), "vgg11_bn", **TINY)
    assert network.norm_epsilon == 0.03


def test_norms_with_another_epsilon_get_another_variance():
    w, x = Writer((3, 4, 4)), "images"
    for epsilon in (1e-3, 1e-3, 0.5):
        x = w.relu(w.norm(w.conv(x, 4, 3, pads=1), epsilon=epsilon))
    file = w.model(head(w, w.node("MaxPool", x, **POOL)))
    network, variables = from_onnx(file, "vgg11_bn", **TINY | {"stage_sizes": (3,)})
    assert network.norm_epsilon == 1e-3
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3)).astype(np.float32)
    found = network.apply(variables, images)
    np.testing.assert_allclose(found, onnx_files.run(file, images), rtol=1e-5, atol=1e-5)


def normalised(w, **fields):
    x = w.node("LRN", w.relu(w.conv("images", 4, 3, pads=1)), **fields)
    return head(w, w.node("MaxPool", x, **POOL))


def test_response_normalisations_of_other_constants_are_read_or_refused():
    constants = {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 2.0}
    w = Writer((3, 4, 4))
    file = w.model(normalised(w, **constants))
    network, variables = from_onnx(file, "vgg11_lrn", **TINY)
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3)).astype(np.float32)
    found = network.apply(variables, images)
    np.testing.assert_allclose(found, onnx_files.run(file, images), rtol=1e-5, atol=1e-5)
    part = r"lrn \(5, 2.0, 0.0001, 0.75\), and lrn\d in the file is lrn \(3, 2.0,"
    with pytest.raises(UserError, match=part):
        from_onnx(file, "vgg11_lrn", **TINY, lrn=True)


def test_old_files_name_the_axis_of_a_constant():
    def write(**fields):
        w = Writer((3, 4, 4))
        x = w.conv("images", 4, 3, bias=False, pads=1)
        bias = w.array(np.arange(4).reshape((4,) if fields else (4, 1, 1)))
        x = w.relu(w.node("Add", x, bias, **fields))
        return w.model(head(w, w.node("MaxPool", x, **POOL)))

    _, old = from_onnx(write(broadcast=1, axis=1), "vgg11", **TINY)
    _, new = from_onnx(write(), "vgg11", **TINY)
    chex.assert_trees_all_equal(old, new)


def test_constants_are_compared_in_full_precision():
    w = Writer((3, 8, 8))
    x = w.relu(w.conv("images", 4, 3, pads=1))
    w.node("Mul", x, w.array(0.17))
    layers = [
        layer for layer in layers_of(w, w.nodes[-1].output[0]).layers if layer.kind == "scale"
    ]
    assert [str(layer) for layer in layers] == ["scale 0.17"]


def test_a_folded_norm_is_exactly_no_norm():
    w = Writer((3, 4, 4))
    network, variables = from_onnx(w.model(folded(w)), "vgg11_bn", **TINY, norm_epsilon=1e-3)
    norm = variables["params"]["stage1"]["norm1"]
    (var,) = {*np.asarray(variables["batch_stats"]["stage1"]["norm1"]["var"]).tolist()}
    assert np.float32(var) + np.float32(1e-3) == 1
    assert {*np.asarray(norm["scale"]).tolist()} == {1.0}
    assert network.norm_epsilon == 1e-3


def test_half_precision_is_read():
    w = Writer((3, 4, 4))
    file = w.model(plain(w))
    half = {name: a.astype(np.float16) for name, a in onnx_files.arrays_of(file).items()}
    _, variables = from_onnx(onnx_files.with_arrays(file, **half), "vgg11_bn", **TINY)
    kernel = np.asarray(variables["params"]["classifier"]["kernel"])
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16))


def test_channels_last_are_read_in_our_order():
    w = Writer((4, 4, 3))  # images (N, H, W, C), as in TensorFlow
    x = w.node("Transpose", "images", perm=(0, 3, 1, 2), channels=3)
    x = w.node("Transpose", body(w, x), perm=(0, 2, 3, 1))
    x = w.node("Reshape", x, w.array([-1, 16], np.int64))
    x = w.node("MatMul", x, w.array(w.rng.random((16, 3))))
    file = w.model(w.node("Softmax", w.node("Add", x, w.array(w.rng.random(3)))))
    network, variables = from_onnx(file, "vgg11_bn", **TINY)
    images = np.random.default_rng(1).standard_normal((2, 4, 4, 3)).astype(np.float32)
    logits = network.apply(variables, images)
    expected = onnx_files.run(file, images.transpose(0, 2, 3, 1))  # which it takes back
    np.testing.assert_allclose(nn.softmax(logits), expected, rtol=1e-4, atol=1e-6)


def refused(write, *parts, shape=(3, 4, 4), **fields):
    w = Writer(shape)
    with pytest.raises(UserError) as info:
        from_onnx(w.model(write(w)), "vgg11_bn", **TINY | fields)
    message = str(info.value)
    assert message.startswith("this is no ONNX file of our vgg11_bn: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (lambda w: w.node("Exp", "images"), "exp0 (Exp) is of a kind that no network"),
        (lambda w: w.node("Mul", w.relu("images"), w.relu("images")), "combines arrays"),
        (lambda w: w.node("Add", "images", w.relu(w.conv("images", 3, 3))), "adds maps of"),
        (lambda w: w.node("Flatten", "images", axis=2), "does not flatten"),
        (lambda w: w.node("Gemm", "images", w.array(np.ones((3, 48)))), "has a matrix"),
        (lambda w: w.node("Clip", "images", w.array(-1.0), w.array(1.0)), "clips to (-1.0, 1.0)"),
        (lambda w: w.node("Clip", "images", w.array([0.0, 1.0])), "is not valid"),
        (lambda w: w.node("LRN", "images", size=4), "sums over 4 channels"),
        (lambda w: w.node("Pad", "images", w.array([1] * 8, np.int64)), "more than height"),
        (lambda w: w.node("Transpose", "images", perm=(0, 2, 1, 3)), "transposes NCHW to NHCW"),
        (lambda w: w.node("Concat", "images", "images", axis=2), "other axes than the channels"),
        (lambda w: w.node("ReduceMean", "images", axes=(1,)), "no mean over height and width"),
        (lambda w: w.conv("images", 4, 9), "no output for maps of 4x4"),
        (lambda w: w.conv("images", 4, 3, pads=-1), "has pads"),
        (lambda w: w.conv("images", 4, 3, pads=1 << 40), "has pads"),
        (lambda w: w.conv("images", 4, 3, strides=(0, 1)), "does not move"),
        (lambda w: w.node("Conv", "images", w.relu("images")), "computes its input 1"),
        (lambda w: w.node("Conv", "images", w.array(np.ones((4, 2, 3, 3)))), "for 3 channels"),
        (lambda w: w.node("Conv", "images", w.array(np.ones((4, 3, 3, 3)), int)), "real numbers"),
        (lambda w: w.node("Add", "images", "later"), "takes later, which no node before has"),
        (lambda w: w.norm(w.norm(w.conv("images", 4, 3, pads=1))), "instead of a classifier"),
    ],
)
def test_what_no_network_of_ours_has_is_refused(write, part):
    refused(write, part)


def test_two_norms_in_a_row_are_refused():
    refused(
        lambda w: head(
            w, w.node("MaxPool", w.relu(w.norm(w.norm(w.conv("images", 4, 3, pads=1)))), **POOL)
        ),
        "two normalisations in a row",
    )


def test_joins_that_double_are_refused():
    def write(w):
        x = "images"
        for _ in range(12):
            x = w.node("Concat", x, x, axis=1)
        return x

    refused(write, "joins 1,024 arrays")


def test_images_without_bounds_are_refused():
    refused(plain, "images of 4x2000x3", shape=(3, 4, 2000))
    refused(plain, "it takes no images", shape=(3, 4))


def test_each_node_is_read_as_one_operator():
    w = Writer((3, 4, 4))
    w.nodes.append(helper.make_node("Relu", ["images"], ["out"]))
    assert [layer.kind for layer in layers_of(w, "out").layers] == ["images", "relu"]
