"""An ONNX file is read as data, or refused in one line; no other file is opened."""

import contextlib
import os
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxcnn.errors import UserError
from jaxcnn.interop import from_onnx
from jaxcnn.interop.onnx_reader.file import array_of, read_onnx
from tests.interop.onnx_files import Writer


def small():
    w = Writer((3, 8, 8))
    x = w.relu(w.conv("images", 4, 3, pads=1))
    return w.model(w.dense(w.node("Flatten", w.node("GlobalAveragePool", x)), 4, 2))


def refused(source, *parts, read=read_onnx):
    with pytest.raises(UserError) as info:
        read(source)
    message = str(info.value)
    assert message.isprintable()
    assert len(message) < 1000
    for part in parts:
        assert part in message


def test_nodes_arrays_and_the_input_are_read(tmp_path):
    (tmp_path / "x.onnx").write_bytes(small().SerializeToString())
    for source in (tmp_path / "x.onnx", str(tmp_path / "x.onnx"), small()):
        file = read_onnx(source)
        assert [node.operator for node in file.nodes] == [
            *("Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm")
        ]
        assert file.image_shape == (1, 3, 8, 8)
        assert sorted(array.shape for array in file.arrays.values()) == [
            *((2,), (2, 4), (4,), (4, 3, 3, 3))
        ]
        assert not file.unused


def test_open_lengths_and_nodes_that_lead_nowhere():
    model = small()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    model.graph.node.append(helper.make_node("Unknown", ["relu1", "more"], ["nowhere"]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 3)), "more"))
    file = read_onnx(model)
    assert file.image_shape == (1, 3, None, 8)
    assert file.unused == {"more": (2, 3)}
    assert "Unknown" not in {node.operator for node in file.nodes}


def test_old_files_list_their_initialisers_as_inputs():
    model = small()
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        model.graph.input.insert(0, value)
    assert read_onnx(model).images == "images"


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *((TensorProto.FLOAT, np.float32), (TensorProto.DOUBLE, np.float64)),
        *((TensorProto.FLOAT16, np.float16), (TensorProto.INT64, np.int64)),
        *((TensorProto.INT32, np.int32), (TensorProto.BOOL, np.bool_)),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_are_read_in_both_forms(kind, dtype, raw):
    values = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    given = values.tobytes() if raw else values.ravel().tolist()
    found = array_of(helper.make_tensor("x", kind, (2, 3), given, raw=raw))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_bfloat16_is_read():
    tensor = helper.make_tensor("x", TensorProto.BFLOAT16, (2,), [1.5, -2.0])
    np.testing.assert_array_equal(np.asarray(array_of(tensor), np.float32), [1.5, -2.0])


def changed(change):
    model = small()
    change(model)
    return model


def external(model):
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/dev/zero")


def short_data(model):
    model.graph.initializer[1].raw_data = b"\0" * 8


def endless(model):
    model.graph.initializer[1].dims[:] = [1 << 40, 1 << 40]


def negative(model):
    model.graph.initializer[1].dims[0] = -4


def text(model):
    model.graph.initializer[1].data_type = TensorProto.STRING


def function(model):
    model.functions.add(name="f", domain="own")


def sparse(model):
    model.graph.sparse_initializer.add()


def twice(model):
    model.graph.initializer.append(model.graph.initializer[1])


def same_output(model):
    model.graph.node.append(helper.make_node("Relu", ["images"], ["relu1"]))


def other_standard(model):
    model.graph.node[1].domain = "com.microsoft"


def no_weights(model):
    model.graph.input.append(helper.make_tensor_value_info("array1", TensorProto.FLOAT, ()))
    del model.graph.initializer[1]


def nothing(model):
    model.Clear()


def many_nodes(model):
    model.graph.node.extend(20_001 * [helper.make_node("Relu", ["images"], ["x"])])


def long_name(model):
    model.graph.node[1].name = 100_000 * "n"
    model.graph.node[1].domain = "o" * 100_000


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (external, ("array1 is in another file", "external data")),
        (short_data, ("array1 has 2 numbers for the shape (4, 3, 3, 3)",)),
        (endless, ("array1 has 108 numbers",)),
        (negative, ("array1 has 108 numbers",)),
        (text, ("array1 has type number 8",)),
        (function, ("it defines functions",)),
        (sparse, ("sparse",)),
        (twice, ("two initialisers of one name",)),
        (same_output, ("two of its nodes write relu1",)),
        (other_standard, ("com.microsoft.Relu", "without the optimisations")),
        (no_weights, ("it has 2 inputs (images, array1)",)),
        (nothing, ("it is empty",)),
        (many_nodes, ("20,006 nodes",)),
        (long_name, ("nnn…",)),
    ],
)
def test_what_is_no_plain_file_is_refused(change, parts):
    refused(changed(change), "cannot read", *parts)


def test_an_attribute_with_an_array_in_another_file_is_refused():
    model = small()
    external(model)
    tensor = model.graph.initializer[1]
    node = helper.make_node("Constant", [], ["array1"], value=tensor)
    del model.graph.initializer[1]
    model.graph.node.insert(0, node)
    refused(model, "in another file", read=lambda source: from_onnx(source, "resnet18"))


def test_a_fifo_a_folder_and_a_missing_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.onnx")
    refused(tmp_path / "fifo.onnx", "a FIFO")
    refused(tmp_path, "a folder")
    refused(tmp_path / "missing.onnx", "No such file")
    (tmp_path / "empty.onnx").touch()
    refused(tmp_path / "empty.onnx", "it is empty or not ONNX")


def test_damaged_bytes_are_refused_or_read(tmp_path):
    data, path = np.frombuffer(small().SerializeToString(), np.uint8), tmp_path / "x.onnx"
    rng = np.random.default_rng(0)
    for count in 100 * [1, 3, 20]:
        changed = data.copy()
        changed[rng.integers(len(data), size=count)] = rng.integers(256, size=count)
        end = len(data) if count < 20 else rng.integers(len(data))
        path.write_bytes(changed[:end].tobytes())
        with contextlib.suppress(UserError):
            read_onnx(path)


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused("x.onnx", 'pip install "jaxcnn[onnx]"')
