"""Reads the weights of ONNX files into our networks.

The names of nodes and arrays differ from exporter to exporter and are not used. The network of the
file and ours are compared layer by layer, from the images to the logits, and every array gets the
place of its layer. A file whose network is another function is refused, even if all of its arrays
would fit.

Files of the ONNX model zoo (onnx/models, validated/vision/classification), by name here:

  alexnet        bvlcalexnet-12               caffenet       caffenet-12
  googlenet      googlenet-12,                zfnet512       zfnet512-12
                 inception-v1-12              resnet50_v1    resnet50-caffe2-v1-9
  resnet18 and 34                             resnet18-v1-7 and resnet34-v1-7
  resnet50_v1, resnet101_v1, resnet152_v1     resnet50-v1-7, resnet101-v1-7, resnet152-v1-7
  resnet18_v2, 34, 50, 101 and 152            resnet18-v2-7, …

What is known of them comes from the published sizes of the files, listings of their nodes in public
code, and the sources of the exporters; none of the files was read here. Not checked are the padding
of the pools of bvlcalexnet, caffenet and zfnet512 (read from the node; full windows, Caffe's partly
fitting ones and a symmetric padding of zfnet512 are known), whether the bottlenecks of
resnet50-caffe2 are strided in the 1x1 (`resnet50_v1`) or in the 3x3 (`resnet50`), and its first
pool (both paddings are known). The networks that came through Caffe have images with blue first;
see `jaxcnn.interop.transfer.swap_input_channels`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import IGNORED, create_library_model, find_network
from jaxcnn.interop.onnx_reader.compare import Layer, LayerGraph, pair, with_norms
from jaxcnn.interop.onnx_reader.fields import fields_of
from jaxcnn.interop.onnx_reader.file import OnnxFile, read_onnx
from jaxcnn.interop.onnx_reader.layers import onnx_layers
from jaxcnn.interop.onnx_reader.traced import traced_layers
from jaxcnn.models import input_size

LARGEST = 1024  # side of images in pixels, and channels
FIX = "Another member takes its fields, such as stage_sizes"

Path = tuple[str, ...]
Arrays = dict[str, np.ndarray]


def from_onnx(source: Any, name: str, **overrides: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Returns our network for an ONNX file, and its variables from the file's arrays.

    The number of classes, the input channels, the epsilon of BatchNorm, the constants of the
    response normalisation, the padding where files differ, and what a file does to its images are
    read from it. BatchNorm may be folded into convolutions: then its scale is one, its mean zero,
    its variance 1 - epsilon, and the bias of the convolution its bias. A bias that is missing in a
    file is zero: exporters leave such biases out. A softmax at the end, dropout and counters are
    ignored. Weights stay as they are, also if the file's images have blue first.

    Args:
      source: path of the file, at most 2 GiB, or an `onnx.ModelProto`.
      name: our name of the network, or one of `name_tables.ONNX`.
      **overrides: fields of our network, for variants without their own name, another `dtype`, or
        values that are not to be read from the file. With `num_classes=0` the classifier is omitted
        and may be missing.

    Returns:
      The module, and {"params": …, "batch_stats": …}; arrays are cast to the `param_dtype`.

    Raises:
      UserError: if the name or a field is unknown, the package onnx is missing, or the file is
        damaged, keeps arrays in other files, or is of another network; the message has the first
        difference and lists missing, superfluous and differently shaped arrays.
    """
    chosen = find_network("onnx", name)
    overrides.setdefault("parent", None)  # a top-level module
    plain = create_library_model("onnx", name, **overrides)
    file = read_onnx(source)
    try:
        images, axes = _images(file, input_size(chosen.model))
        theirs = _without_head(onnx_layers(file, images, axes), overrides.get("num_classes"))
        theirs = with_norms(theirs)
        fields = {**fields_of(theirs, plain), **overrides}
        if "num_classes" not in fields:
            fields["num_classes"] = _classes(theirs.output)
        model = create_library_model("onnx", name, **fields)
        shapes, ours = _traced(model, images)
        filled = _filled(_paired(ours, theirs, shapes), shapes, _epsilon(model), file)
    except UserError as error:
        raise UserError(f"this is no ONNX file of our {name}: {error}") from error
    flat = {path: jnp.asarray(filled[path], leaf.dtype) for path, leaf in shapes.items()}
    return model, traverse_util.unflatten_dict(flat)


def _images(file: OnnxFile, usual: tuple[int, int, int]) -> tuple[tuple[int, ...], str]:
    """Returns (C, H, W) of the images, with the usual lengths where a file has none, and axes."""
    channels_last = any(
        node.operator == "Transpose"
        and node.inputs[0] == file.images
        and list(node.fields.get("perm", ())) == [0, 3, 1, 2]
        for node in file.nodes
    )
    axes = "NHWC" if channels_last else "NCHW"
    given = dict(zip(axes, file.image_shape, strict=False))
    if len(file.image_shape) not in (0, 4):
        raise UserError(f"its input has shape {file.image_shape}: it takes no images")
    height, width, channels = (
        given.get(axis) or length for axis, length in zip("HWC", usual, strict=True)
    )
    if max(height, width, channels) > LARGEST:
        raise UserError(f"it takes images of {height}x{width}x{channels}: at most {LARGEST} each")
    return (channels, height, width), axes


def _without_head(graph: LayerGraph, num_classes: int | None) -> LayerGraph:
    """Returns a graph up to the features, if the classifier is to be omitted."""
    last = graph.output
    is_dense = last.kind == "conv" and last.shape[1:] == (1, 1)
    if num_classes != 0 or not is_dense:
        return graph
    return LayerGraph(graph.layers, last.inputs[0])


def _classes(last: Layer) -> int:
    if last.kind != "conv" or last.shape[1:] != (1, 1):
        raise UserError(
            f"it ends with {last.name} ({last}) instead of a classifier: take it without, for its"
            " features or a classifier of your own, by num_classes=0"
        )
    return last.shape[0]


def _traced(model: nn.Module, images: Sequence[int]) -> tuple[dict[Path, Any], LayerGraph]:
    """Returns the shapes of a network's variables by their paths, and its layers."""
    channels, height, width = images
    given = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), given)
    precise = model.clone(dtype=jnp.float32)  # the constants of its layers are compared
    graph = with_norms(traced_layers(trace(precise, shapes, given)))
    return traverse_util.flatten_dict(shapes), graph


def _epsilon(model: Any) -> float:
    """Returns the epsilon of a network's BatchNorm."""
    norm = getattr(model, "norm", None)
    own = norm.keywords if isinstance(norm, partial) else {}
    return own.get("epsilon", getattr(model, "norm_epsilon", 0.0))


def _paired(
    ours: LayerGraph, theirs: LayerGraph, shapes: Mapping[Path, Any]
) -> list[tuple[Layer, Layer]]:
    try:
        return pair(ours, theirs)
    except UserError as error:
        wanted = [(layer.name, _kernel_shape(layer, shapes)) for layer in _convs(ours)]
        given = [(layer.name, layer.weights["kernel"].shape) for layer in _convs(theirs)]
        lists = _complaint(
            {
                "missing": _not_among(wanted, given),
                "not used": _not_among(given, wanted),
            }
        )
        raise UserError("; ".join(filter(None, (str(error), lists))) + f". {FIX}") from error


def _convs(graph: LayerGraph) -> list[Layer]:
    return [layer for layer in graph.layers if layer.kind == "conv"]


def _kernel_shape(layer: Layer, shapes: Mapping[Path, Any]) -> tuple[int, ...]:
    """Returns a kernel's shape in ONNX's order, (O, I, H, W)."""
    sides = layer.settings[0]  # type: ignore[index]
    return (
        layer.shape[0],
        shapes[layer.weights["kernel"]].size // layer.shape[0] // (sides[0] * sides[1]),
        *sides,
    )


def _not_among(
    layers: Iterable[tuple[str, tuple[int, ...]]], others: Iterable[tuple[str, tuple[int, ...]]]
) -> list[str]:
    """Returns the layers for whose kernels others have none of the same shape."""
    left, found = Counter(shape for _, shape in others), []
    for name, shape in layers:
        left[shape] -= 1
        if left[shape] < 0:
            found.append(f"{name} {shape}")
    return found


def _filled(
    pairs: Iterable[tuple[Layer, Layer]],
    shapes: Mapping[Path, Any],
    epsilon: float,
    file: OnnxFile,
) -> dict[Path, np.ndarray]:
    """Returns the arrays of a file by our paths.

    Raises:
      UserError: if arrays are missing or left over.
    """
    filled: dict[Path, np.ndarray] = {}
    counters = (name for name, shape in file.unused.items() if name.endswith(IGNORED) or not shape)
    unused = {**file.unused, **dict.fromkeys(counters)}
    not_used = [f"{name} {shape}" for name, shape in unused.items() if shape is not None]
    for one, other in pairs:
        arrays, norm = _arrays_of(other)
        own_norm = one if one.kind == "norm" else next(iter(one.norms), None)
        wanted = {} if one is own_norm else dict(one.weights)
        if own_norm is not None:
            arrays, norm = _for_norm(arrays, norm, "bias" in wanted, epsilon)
            filled |= {path: norm[leaf] for leaf, path in own_norm.weights.items()}
        elif norm:
            not_used.append(f"the BatchNorm after {other.name}")
        if "bias" in wanted and "bias" not in arrays:
            arrays["bias"] = np.zeros(len(arrays["kernel"]))
        not_used += [f"the {leaf} of {other.name}" for leaf in arrays if leaf not in wanted]
        filled |= {
            path: _in_our_order(arrays[leaf], shapes[path].shape) for leaf, path in wanted.items()
        }
    missing = ["/".join(path[1:]) for path in shapes if path not in filled]
    if found := _complaint({"missing": missing, "not used": not_used}):
        raise UserError(f"{found}. {FIX}")
    return filled


def _arrays_of(layer: Layer) -> tuple[Arrays, Arrays]:
    """Returns the arrays of a layer of a file, and of the BatchNorm after it, if there is one.

    Constants that are added or multiplied after it become a bias, or parts of the BatchNorm.

    Raises:
      UserError: if there are several BatchNorms.
    """
    arrays = {} if layer.kind == "norm" else dict(layer.weights)
    norm: Arrays = {}
    for each in ([layer] if layer.kind == "norm" else []) + list(layer.norms):
        given = dict(each.weights)
        if "mean" in given:
            if norm:
                raise UserError(f"it has two normalisations in a row before {each.name}")
            norm = given
        elif "scale" in given:
            factor = _wide(given["scale"])
            norm = norm or _identity(len(factor))
            norm = norm | {leaf: _wide(norm[leaf]) * factor for leaf in ("scale", "bias")}
        elif norm:
            norm["bias"] = _wide(norm["bias"]) + _wide(given["bias"])
        else:
            arrays["bias"] = _wide(arrays.get("bias", 0.0)) + _wide(given["bias"])
    return arrays, norm


def _identity(channels: int) -> Arrays:
    """Returns the arrays of a BatchNorm that changes nothing."""
    zeros, ones = np.zeros(channels), np.ones(channels)
    return {"scale": ones, "bias": zeros, "mean": zeros, "var": ones, "epsilon": np.zeros(())}


def _for_norm(
    arrays: Arrays, norm: Arrays, keeps_bias: bool, epsilon: float
) -> tuple[Arrays, Arrays]:
    """Returns arrays for a layer of ours with a BatchNorm, and for the BatchNorm.

    Args:
      arrays: of the file's layer.
      norm: of the file's BatchNorm; empty if it is folded into the layer.
      keeps_bias: whether our layer has a bias, too.
      epsilon: of our BatchNorm.
    """
    folded = not norm
    if folded:
        norm = _identity(len(arrays["kernel"]) if "kernel" in arrays else len(arrays["bias"]))
    if "bias" in arrays and not keeps_bias:
        bias = _wide(arrays.pop("bias"))
        shift = {"bias": bias} if folded else {"mean": _wide(norm["mean"]) - bias}
        norm = norm | shift
    variance = _wide(norm["var"]) + (float(norm["epsilon"]) - epsilon)
    return arrays, norm | {"var": variance}


def _wide(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)


def _in_our_order(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Transposes a kernel (O, I, H, W) to (H, W, I, O), flat for a dense layer; no vector."""
    return array if array.ndim == 1 else array.transpose(2, 3, 1, 0).reshape(shape)


def _complaint(lists: Mapping[str, Sequence[str]], most: int = 12) -> str:
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:most])}{', …' if len(names) > most else ''}"
        for kind, names in lists.items()
        if names
    )
