"""A library's file becomes a folder of ours: whole, checked, and with the same network in it."""

import errno
import json
import shutil

import chex
import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop import folder as folders
from jaxcnn.interop import from_torch, read_weights, to_torch, write_weights
from jaxcnn.interop.convert import convert, main, parse_override
from jaxcnn.interop.exchange import create_library_model
from jaxcnn.interop.folder import RECORD, WEIGHTS, read_folder, write_folder
from jaxcnn.training.state import state_sha256
from tests.interop import onnx_files, small


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "small.safetensors"
    write_weights(small.state(), path)
    return path


@pytest.fixture(scope="module")
def converted(source):
    folder = source.parent / "converted"
    convert("torchvision", "resnet18", source, folder, small.FIELDS)
    return folder


def flags(source, out, *more):
    return [
        "--library=torchvision",
        "--name=resnet18",
        f"--source={source}",
        f"--out={out}",
        *more,
    ]


def test_the_folder_holds_the_network_and_the_weights(source, converted):
    model, variables, record = read_folder(converted)
    given = from_torch(read_weights(source), "torchvision", "resnet18", **small.FIELDS)
    assert model == given[0]
    chex.assert_trees_all_equal(variables, given[1])
    back = to_torch(variables, "torchvision", "resnet18", **small.FIELDS)
    assert {**back, "bn1.num_batches_tracked": 0}.keys() == read_weights(source).keys()

    assert sorted(path.name for path in converted.iterdir()) == [RECORD, WEIGHTS]
    assert record["model"] == record["name"] == "resnet18"
    assert record["library"] == "torchvision"
    assert record["source"] == "small.safetensors"
    assert (record["num_classes"], record["channels"]) == (10, 3)
    assert record["overrides"] == small.FIELDS
    assert record["fields"]["width"] == 8
    assert record["sha256"] == state_sha256(variables)


def test_a_folder_of_an_older_version_is_read(converted, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(converted, older)
    record = json.loads((older / RECORD).read_text())
    record["overrides"] |= {"with_norm": True, "initialization": "torchvision"}
    (older / RECORD).write_text(json.dumps(record))
    assert read_folder(older).model == read_folder(converted).model


def test_fields_that_are_functions_come_back(tmp_path):
    fields = {"stage_sizes": (1, 1), "features": (4, 8, 8), "head_features": 8}
    state = small.state(library="timm", name="mobilenetv1_100", **fields)
    write_weights(state, tmp_path / "x.npz")
    convert("timm", "mobilenetv1_100", tmp_path / "x.npz", tmp_path / "out", fields)
    model, _, record = read_folder(tmp_path / "out")
    assert model.act is nn.relu6
    assert model.head_features == 8
    assert model == from_torch(state, "timm", "mobilenetv1_100", **fields)[0]
    assert "act" not in record["fields"]


def test_the_command_says_what_it_did(source, tmp_path, capsys):
    half = {
        key: value.astype(np.float16) if value.dtype == np.float32 else value
        for key, value in read_weights(source).items()
    }
    write_weights(half, tmp_path / "half.npz")
    out = tmp_path / "deep" / "out"
    assert main(flags(tmp_path / "half.npz", out, *small.FLAGS)) == 0
    said, err = capsys.readouterr()
    assert err == ""
    lines = dict(line.split(maxsplit=1) for line in said.replace("left out", "left").splitlines())
    params = small.shapes(read_folder(out).model)["params"]
    assert lines.keys() == {"taken", "adapted", "left", "written"}
    assert f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters" in lines["taken"]
    assert "10 classes, 3 input channels" in lines["taken"]
    assert "(O, I, H, W) to (H, W, I, O); float16 to float32" in lines["adapted"]
    assert lines["left"] == "1 num_batches_tracked"
    assert str(out) in lines["written"]
    assert read_folder(out).record["sha256"] in lines["written"]


@pytest.mark.exhaustive
def test_auxiliary_heads_are_kept_or_left_out_as_asked(googlenet, tmp_path):
    write_weights(googlenet, tmp_path / "x.npz")
    count = sum(key.startswith("aux") for key in googlenet)
    for wanted, fields, left in (
        (True, {}, ""),
        (False, {"aux_heads": False}, f", {count} aux…"),
    ):
        out = tmp_path / str(wanted)
        lines = convert("torchvision", "googlenet", tmp_path / "x.npz", out, fields)
        assert f"left out   1 num_batches_tracked{left}" in lines
        model, variables, _ = read_folder(out)
        assert model.aux_heads is wanted
        assert ("aux1_head" in variables["params"]) is wanted


FLAG_MISTAKES = {
    "unknown": (["--nmae=x"], "no flag --nmae: did you mean --name?"),
    "without value": (["--name"], "expected one argument"),
    "missing": (["--name=resnet18"], "--library, --source, --out"),
    "abbreviated": (["--lib=timm"], "no flag --lib: "),
    "no flag": (["resnet18"], "required: --library"),
}
MISTAKES = {
    "no field": (["--override=width"], "write FIELD=VALUE"),
    "unknown field": (["--override=widht=8"], "did you mean width"),
    "function": (["--override=act=relu"], "takes a function"),
    "nonsense": (["--override=width=wide"], "no network with width='wide'"),
    "unknown library": (["--library=torchvison"], "did you mean torchvision?"),
    "unknown network": (["--name=resnet19"], "no table for torchvision's 'resnet19'"),
    "no file": (["--source=none.safetensors"], "there is no weights file none.safetensors"),
    "another network": ([], "this is no state of torchvision's resnet18: "),
    "another depth": (["--override=stage_sizes=(1,2)", "--override=width=8"], "layer2.1.conv1"),
}


def assert_refused(argv, said, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert said in err


@pytest.mark.parametrize(("argv", "said"), FLAG_MISTAKES.values(), ids=FLAG_MISTAKES)
def test_a_wrong_flag_is_answered_in_one_line(capsys, argv, said):
    assert_refused(argv, said, capsys)


@pytest.mark.parametrize(("changed", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(source, tmp_path, capsys, changed, said):
    assert_refused(flags(source, tmp_path / "out", *changed), said, capsys)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(source, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        assert main(flags("none.npz", out, *small.FLAGS)) == 2  # before anything is read
        assert "exists: choose another folder" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert main(flags(source, tmp_path / "empty", *small.FLAGS)) == 0
    read_folder(tmp_path / "empty")


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left"), UserError("full"), KeyboardInterrupt()]
)
def test_nothing_half_written_stays(converted, tmp_path, monkeypatch, failure):
    model, variables, _ = read_folder(converted)

    def write_half(weights, path):
        path.write_text("half")
        raise failure

    monkeypatch.setattr(folders, "write_weights", write_half)
    names = {"library": "torchvision", "name": "resnet18", "source": "x"}
    with pytest.raises((UserError, KeyboardInterrupt)):
        write_folder(tmp_path / "out", model, variables, overrides=small.FIELDS, **names)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"act=.* cannot be written down"):
        write_folder(tmp_path / "out", model, variables, overrides={"act": nn.relu}, **names)
    assert not list(tmp_path.iterdir())


def test_a_changed_folder_is_refused(converted, tmp_path):
    def copy(name):
        return shutil.copytree(converted, tmp_path / name)

    damaged = copy("damaged")
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_folder(damaged)

    exchanged = copy("exchanged")
    weights = read_weights(exchanged / WEIGHTS)
    weights["params/classifier/bias"] = weights["params/classifier/bias"] + 1
    write_weights(weights, exchanged / WEIGHTS)
    with pytest.raises(UserError, match="not what was written: its SHA-256"):
        read_folder(exchanged)

    for name, text in {
        "no json": "{",
        "a list": "[]",
        "without": '{"library": "torchvision"}',
        "unhashable": json.dumps(
            {"library": [], "name": "", "num_classes": 1, "overrides": {}, "sha256": ""}
        ),
    }.items():
        folder = copy(name)
        (folder / RECORD).write_text(text)
        with pytest.raises(UserError, match=r"model\.json cannot be read.*convert .* again"):
            read_folder(folder)
    (folder / RECORD).unlink()
    with pytest.raises(UserError, match=r"no model\.json in it"):
        read_folder(folder)
    with pytest.raises(UserError, match=r"no model\.json in it"):
        read_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=(1, 2)", (1, 2)),
        ("a=B", "B"),
        ("a=True", True),
        ("a=b=c", "b=c"),
        ("a=", ""),
    ],
)
def test_values_of_fields_are_literals_or_text(text, value):
    assert parse_override(text) == ("a", value)
    assert type(parse_override(text)[1]) is type(value)


@pytest.mark.slow
def test_an_onnx_file_becomes_a_folder_with_the_fields_that_were_read(tmp_path, capsys):
    file, images, logits = onnx_files.reference("vgg", "kept")
    for node in file.graph.node:
        for field in node.attribute:
            field.f = 2e-5 if field.name == "epsilon" else field.f
    (tmp_path / "x.onnx").write_bytes(file.SerializeToString())
    argv = ["--library=onnx", "--name=vgg11_bn", f"--source={tmp_path / 'x.onnx'}"]
    fields = {
        "stage_sizes": (1, 2),
        "stage_features": (4, 8),
        "pool_size": (2, 2),
        "hidden_features": (16, 12),
    }
    argv += [f"--override={field}={value}" for field, value in fields.items()]
    assert main([*argv, f"--out={tmp_path / 'out'}"]) == 0
    said, err = capsys.readouterr()
    assert err == ""
    assert "norm_epsilon=2e-05 as in the file" in said
    assert "10 classes, 3 input channels" in said
    model, variables, record = read_folder(tmp_path / "out")
    assert record["overrides"] == {**fields, "norm_epsilon": 2e-5}
    assert model.norm_epsilon == 2e-5
    np.testing.assert_allclose(model.apply(variables, images), logits, atol=1e-4)

    assert_refused([*argv[:3], f"--out={tmp_path / 'no'}"], "this is no ONNX file of our", capsys)
    text = tmp_path / "text.onnx"
    text.write_text("text")
    assert_refused([*argv[:2], f"--source={text}", f"--out={tmp_path / 'no'}"], str(text), capsys)
    assert not (tmp_path / "no").exists()


FEW = {"features": (4, 4, 4, 4, 4), "pool_size": (1, 1), "hidden_features": (4,)}


def test_constants_that_were_read_come_back_from_the_folder(tmp_path):
    lrn = (3, 1.0, 2e-5, 0.75)
    model = create_library_model("onnx", "caffenet", 10, lrn=lrn, **FEW)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    variables = small.filled(jax.eval_shape(model.init, jax.random.key(0), images))
    names = {"library": "onnx", "name": "caffenet", "source": "x"}
    overrides = {"lrn": lrn, **FEW}
    record = write_folder(tmp_path / "out", model, variables, overrides=overrides, **names)
    assert record["channels"] == 3
    found = read_folder(tmp_path / "out").model
    assert (found.lrn, found.pool_first) == (lrn, True)
    assert found == model
