"""ONNX files for tests: those of `onnx_references/`, and networks written node by node."""

import lzma
from pathlib import Path

import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

FOLDER = Path(__file__).parent / "onnx_references"
OPSET = 13


def reference(name, kind):
    """A small network that torch exported, images (N, H, W, C), and torch's logits."""
    data = lzma.decompress((FOLDER / f"{name}-{kind}.onnx.xz").read_bytes())
    with np.load(FOLDER / f"{name}.npz") as arrays:
        images, logits = arrays["pixels"].astype(np.float32) / 32, arrays["logits"]
    return onnx.ModelProto.FromString(data), images, logits


def graph(name, kind):
    """A large network that torch exported, with random numbers."""
    data = lzma.decompress((FOLDER / f"{name}-{kind}.graph.xz").read_bytes())
    model = onnx.ModelProto.FromString(data)
    rng = np.random.default_rng(0)
    positive = {
        name
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in (node.input[1], node.input[4])
    }
    for tensor in model.graph.initializer:
        if not tensor.raw_data:
            shape = tuple(tensor.dims)
            noise = rng.standard_normal(shape, np.float32)
            noise = noise * np.sqrt(2 / max(np.prod(shape[1:]), 1)) if len(shape) > 1 else noise / 8
            array = 0.75 + 0.5 * rng.random(shape, np.float32) if tensor.name in positive else noise
            tensor.raw_data = array.astype("<f4").tobytes()
    return model


def run(model, images):
    """What onnxruntime computes for images (N, H, W, C), as many at once as the file takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    parts = np.split(images.transpose(0, 3, 1, 2), len(images) // int(given.shape[0]))
    outputs = [session.run(None, {given.name: np.ascontiguousarray(part)})[0] for part in parts]
    return np.concatenate(outputs)


def apply(network, variables, images):
    return np.asarray(jax.jit(network.apply)(variables, images))


def arrays_of(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_arrays(model, **arrays):
    """A copy of a file with other arrays under these names; None takes one away."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    kept = [tensor for tensor in copy.graph.initializer if tensor.name not in arrays]
    new = [numpy_helper.from_array(a, name) for name, a in arrays.items() if a is not None]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend([*kept, *new])
    return copy


class Writer:
    """A graph to which nodes are added; each method returns the name of its output."""

    def __init__(self, shape=(3, 64, 64), seed=0, opset=OPSET):
        self.nodes, self.arrays, self.opset = [], [], opset
        self.shape, self.channels = shape, {"images": shape[0]}
        self.rng = np.random.default_rng(seed)

    def array(self, values, dtype=np.float32):
        name = f"array{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind, *inputs, channels=None, **fields):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **fields))
        self.channels[name] = channels or self.channels.get(inputs[0])
        return name

    def conv(self, x, features, kernel_size, *, bias=True, group=1, pads=0, **fields):
        size = (features, self.channels[x] // group, kernel_size, kernel_size)
        noise = self.rng.standard_normal(size) * np.sqrt(2 / np.prod(size[1:]))
        more = [self.array(self.rng.standard_normal(features) / 8)] if bias else []
        fields["pads"] = [pads] * 4 if isinstance(pads, int) else pads
        inputs = (x, self.array(noise), *more)
        return self.node("Conv", *inputs, channels=features, group=group, **fields)

    def norm(self, x, **fields):
        n = self.channels[x]
        scale, var = self.rng.random((2, n)) + 0.5
        bias, mean = self.rng.standard_normal((2, n)) / 4
        arrays = map(self.array, (scale, bias, mean, var))
        return self.node("BatchNormalization", x, *arrays, **fields)

    def relu(self, x):
        return self.node("Relu", x)

    def dense(self, x, inputs, features):
        kernel = self.rng.standard_normal((features, inputs)) / np.sqrt(inputs)
        bias = self.array(self.rng.standard_normal(features) / 8)
        return self.node("Gemm", x, self.array(kernel), bias, channels=features, transB=1)

    def flat(self, x, features):
        shape = self.array([1, features], np.int64)
        return self.node("Reshape", x, shape, channels=features)

    def model(self, output):
        shapes = [1, *self.shape], None
        values = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in zip(("images", output), shapes, strict=True)
        ]
        graph = helper.make_graph(self.nodes, "g", values[:1], values[1:], self.arrays)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
