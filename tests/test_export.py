"""An exported network is the network, for any batch and every platform, without jaxcnn."""

import importlib.util
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as exporting

from jaxcnn import create_model, export
from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.normalization import Statistics
from jaxcnn.errors import UserError
from jaxcnn.interop import onnx
from jaxcnn.layers.activations import ACTIVATIONS, maxout
from jaxcnn.ops.pool import avg_pool, max_pool
from jaxcnn.run.checkpoint.restore import RestoredModel
from tests import photos
from tests.interop import small
from tests.marks import exhaustive, slow

# A Python of its own, in which nobody can import what the program must not need.
RELOAD = """
import sys
sys.path[:0] = {path!r}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jaxcnn", "flax", "optax", "ml_collections"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import jax, numpy as np
network = jax.export.deserialize(bytearray(open({program!r}, "rb").read()))
images = np.load({images!r})
np.savez({out!r}, **{{f"n{{n}}": network.call(images[:n]) for n in (1, 3, 12)}})
assert not {{"jaxcnn", "flax"}} & set(sys.modules)
"""


@pytest.mark.slow
def test_a_python_without_jaxcnn_gets_the_network_s_logits(photo_run, tmp_path, capsys):
    out = tmp_path / "new" / "model.stablehlo"
    export.main([f"--workdir={photo_run.workdir}", f"--out={out}"])
    printed = capsys.readouterr().out
    assert "uint8 [n, 16, 16, 3] → logits, float32 [n, 3]" in printed
    assert "cpu, cuda, tpu" in printed
    known = json.loads(out.with_name("model.stablehlo.json").read_text())  # it holds no names
    assert known["classes"] == list(photos.CLASSES)
    assert known["normalization"] == "inside of the program"
    config = photo_run.config()
    cropper = build_data.make_cropper(config)
    files = sorted(path for path in photo_run.images.rglob("*") if path.is_file())
    images = np.stack([cropper(file.read_bytes(), None, "") for file in files])
    np.save(tmp_path / "images.npy", images)
    names = {"program": out, "images": tmp_path / "images.npy", "out": tmp_path / "logits.npz"}
    script = RELOAD.format(
        path=[place for place in sys.path if place and "jaxcnn" not in place],
        **{name: str(path) for name, path in names.items()},
    )
    subprocess.run([sys.executable, "-I", "-c", script], check=True, timeout=99, cwd=tmp_path)
    model = build.make_model(config, 3)
    wanted = model.apply(
        photo_run.state()["ema"], build_data.make_normalize(config)(images), train=False
    )
    with np.load(tmp_path / "logits.npz") as found:
        for count in (1, 3, 12):
            logits = found[f"n{count}"]
            assert logits.dtype == np.float32
            assert logits.shape == (count, 3)
            np.testing.assert_allclose(logits, wanted[:count], atol=1e-5)
    assert {path.name for path in out.parent.iterdir()} == {out.name, f"{out.name}.json"}


def untrained(name, size, dtype="float32", **overrides):
    """A network with random weights, as if restored."""
    config = recipes.recipe("resnet18")
    config.model.update(name=name, dtype=dtype)
    config.model.overrides.update(overrides)
    config.data.update(image_size=size, channels=3, mean=(0.4,), std=(0.2,))
    model = create_model(name, 5, dtype=build.DTYPES[dtype], **overrides)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = small.filled(jax.eval_shape(model.init, jax.random.key(0), images))
    variables = {"batch_stats": {}, **variables}
    state = SimpleNamespace(ema=None, variables=lambda averaged: variables)
    return freeze(config), RestoredModel(model, state, 0, 5, None, None, {})


ONNX = export.FORMATS["onnx"]
with_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ONNX.packages)), reason="needs the extra onnx"
)
NETWORKS = {
    "means, concatenations, a loop": (
        ("densenet_bc_100_12", 16),
        {"growth_rate": 4, "stage_sizes": (2, 1), "scan_units": True},
    ),
    "depthwise": (("mobilenet_v1_025", 32), {"width_multiplier": 0.1, "stage_sizes": (1,) * 5}),
    "lrn, maxima, groups, dense": (
        ("alexnet", 67),
        {"features": (16, 16, 16, 16, 16), "hidden_features": (8, 8)},
    ),
    "tap by tap": (
        ("vgg11_bn", 32),
        {"stage_sizes": (1,) * 5, "stage_features": (8, 8, 32, 64, 64), "hidden_features": ()},
    ),
    "half": (("cifar_resnet20", 16, "bfloat16"), {"stage_sizes": (1, 1, 1)}),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("network", "fields"), NETWORKS.values(), ids=NETWORKS)
def test_formulas_of_our_own_are_exported_for_every_platform(network, fields):
    config, found = untrained(*network, **fields)
    program = export.to_stablehlo(config, found, {})
    exported = exporting.deserialize(bytearray(program))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    (images,), (logits,) = exported.in_avals, exported.out_avals
    assert str(images.shape[0]) == "n"
    assert (images.dtype, logits.dtype) == (np.uint8, np.float32)
    assert export.difference(exported.call, config, found) <= (
        1e-5 if found.model.dtype == jnp.float32 else export.ATOL["bfloat16"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stablehlo", pytest.param("onnx", marks=with_onnx)])
def test_a_program_that_is_not_the_network_is_not_written(name, photo_run, tmp_path, monkeypatch):
    honest = export.FORMATS[name]

    def wrong(config, found, about):
        variables = jax.tree.map(lambda leaf: leaf * 1.001, found.state.ema)
        state = found.state.replace(ema=variables)
        return honest.write(config, found._replace(state=state), about)

    monkeypatch.setitem(export.FORMATS, name, honest._replace(write=wrong))
    with pytest.raises(UserError, match="differ from the network's by"):
        export.main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}/x", f"--format={name}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", [slow("stablehlo"), pytest.param("onnx", marks=with_onnx)])
def test_folded_norms_of_a_run(name, photo_run, tmp_path, capsys):
    """`main` compares the logits with those of the whole network."""
    out = tmp_path / f"model.{name}"
    export.main([f"--workdir={photo_run.workdir}", f"--out={out}", "--fold"])
    printed = capsys.readouterr().out
    assert "; 6 of 6 BatchNorms folded into the layers before them" in printed
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), np.uint8)
    config = photo_run.config()
    wanted = build.make_model(config, 3).apply(
        photo_run.state()["ema"], build_data.make_normalize(config)(images), train=False
    )
    logits = export.FORMATS[name].read(out.read_bytes())(images)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


@pytest.mark.slow
@with_onnx
@pytest.mark.parametrize(
    "name", [exhaustive("means, concatenations, a loop"), slow("depthwise"), "half"]
)
def test_a_folded_norm_is_one_addition_in_onnx(name):
    import onnx as library

    network, fields = NETWORKS[name]
    config, found = untrained(*network, **fields)
    folded = export.fold(config, found)
    counts = []
    for each in (found, folded):
        program = ONNX.write(config, each, {})
        nodes = [node.op_type for node in library.load_from_string(program).graph.node]
        counts.append([nodes.count(operator) for operator in ("Sub", "Mul", "Add")])
        tolerance = 1e-5 if found.model.dtype == jnp.float32 else export.ATOL["bfloat16"]
        assert export.difference(ONNX.read(program), config, found) <= tolerance
    gone = len(folded.model.folded)
    assert gone == {"means, concatenations, a loop": 3, "depthwise": 11, "half": 7}[name]
    (sub, mul, add), after = counts
    assert after == [sub - gone, mul - gone, add]


@pytest.mark.slow
def test_stablehlo_as_text(photo_run, tmp_path):
    """Of the same program, for viewers: jax reads the other form only."""
    out = tmp_path / "model.mlir"
    export.main([f"--workdir={photo_run.workdir}", f"--out={out}"])
    text = out.read_text()
    assert "module @jit_network" in text
    assert "stablehlo.convolution" in text
    assert json.loads((tmp_path / "model.mlir.json").read_text())["classes"] == list(photos.CLASSES)


def test_programs_do_not_tell_where_our_source_files_are():
    config, found = untrained("lenet5_modern", 16)
    limit = jax.config.jax_traceback_in_locations_limit
    program = export.to_stablehlo(config, found, {})
    assert b".py" not in program
    assert b".py" not in export.as_text(program)
    assert jax.config.jax_traceback_in_locations_limit == limit


@pytest.mark.slow
@with_onnx
def test_onnx_of_a_run_has_the_network_s_logits(photo_run, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    export.main([f"--workdir={photo_run.workdir}", f"--out={out}"])
    assert "for ONNX; uint8 [n, 16, 16, 3] → logits, float32 [n, 3]" in capsys.readouterr().out
    config = photo_run.config()
    images = np.random.default_rng(1).integers(0, 256, (7, 16, 16, 3), np.uint8)
    wanted = build.make_model(config, 3).apply(
        photo_run.state()["ema"], build_data.make_normalize(config)(images), train=False
    )
    for count in (1, 7):
        logits = export.from_onnx(out.read_bytes())(images[:count])
        assert (logits.dtype, logits.shape) == (np.float32, (count, 3))
        np.testing.assert_allclose(logits, wanted[:count], atol=1e-5)
    assert list(tmp_path.iterdir()) == [out]
    import onnxruntime

    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"]) == list(photos.CLASSES)
    assert known["input"].startswith("images, uint8 [n, 16, 16, 3] in RGB")
    assert (known["model"], known["step"], known["workdir"]) == ("resnet18", "4", "run")
    assert len(known["config_sha256"]) == 64


@pytest.mark.slow
@with_onnx
@pytest.mark.parametrize(
    "name", ["means, concatenations, a loop", "depthwise", "lrn, maxima, groups, dense", "half"]
)
def test_onnx_of_networks(name):
    """Computed in float32, whatever the network's own precision."""
    network, fields = NETWORKS[name]
    config, found = untrained(*network, **fields)
    program = ONNX.write(config, found, {})
    assert export.difference(ONNX.read(program), config, found) <= (
        1e-5 if found.model.dtype == jnp.float32 else export.ATOL["bfloat16"]
    )
    # Grouped and depthwise convolutions are one operator, whatever takes their place on the CPU.
    import onnx as library

    nodes = library.load_from_string(program).graph.node
    convolutions = {"means, concatenations, a loop": 8, "depthwise": 11, "half": 7}
    wanted = {**convolutions, "lrn, maxima, groups, dense": 5}[name]
    assert [node.op_type for node in nodes].count("Conv") == wanted


GATE = {
    "lenet5": ((32, 32, 1), {}),  # sums at some places
    "ladder_conv_large_gamma": ((16, 16, 3), {}),  # windows that only partly fit
    "cifar_resnet110_sd": ((16, 16, 3), {"stage_sizes": (1, 1, 1)}),
}
FAMILIES = {
    "bn_inception": ((64, 64, 3), {}),
    "cifar_resnet164_v2": ((16, 16, 3), {"stage_sizes": (1, 1, 1)}),
    "densenet_bc_100_12": ((16, 16, 3), {"growth_rate": 4, "stage_sizes": (2, 1)}),
    "dfn_fuse3_d20": ((16, 16, 3), {}),
    "dfn_mr1": ((16, 16, 3), {}),
    "dsn_cifar10": ((16, 16, 3), {}),
    "fractalnet_narrow_c3": ((32, 32, 3), {}),
    "googlenet": ((64, 64, 3), {}),
    "highway_fc10": ((28, 28, 1), {"depth": 3}),
    "highway_mnist_w16": ((28, 28, 1), {}),
    "inception_resnet_v2": ((80, 80, 3), {}),
    "inception_v2_slim": ((64, 64, 3), {}),
    "inception_v3": ((80, 80, 3), {}),
    "inception_v4": ((80, 80, 3), {}),
    "ladder_mnist_mlp": ((28, 28, 1), {}),
    "lenet5_softmax": ((32, 32, 1), {}),
    "nin_cifar10": ((16, 16, 3), {}),
    "resnet18_a": ((32, 32, 3), {}),
    "resnext29_8x64d": ((8, 8, 3), {"stage_sizes": (1, 1)}),
    "vgg11_bn": ((32, 32, 3), {"hidden_features": ()}),
    "wrn_16_8": ((8, 8, 3), {}),
    "zfnet": ((64, 64, 3), {"hidden_features": (8, 8)}),
}


@pytest.mark.slow
@with_onnx
@pytest.mark.parametrize(
    "name", [*GATE, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in FAMILIES)]
)
def test_onnx_of_families(name):
    shape, fields = (GATE | FAMILIES)[name]
    model = create_model(name, 10, **fields)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = small.filled(jax.eval_shape(model.init, jax.random.key(0), images))
    variables = jax.tree_util.tree_map_with_path(of_size_one, variables)
    same(lambda images: model.apply(variables, images.astype(jnp.float32) / 255), shape)


def of_size_one(path, leaf):
    """Of kernels with which what goes through many layers neither vanishes nor overflows."""
    return 4 * leaf / leaf[..., 0].size ** 0.5 if path[-1].key == "kernel" else leaf


def same(function, shape):
    program = onnx.convert(function, shape, np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    wanted = np.asarray(jax.jit(function)(images))
    assert np.isfinite(wanted).all()
    found = ONNX.read(program)(images)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@with_onnx
def test_onnx_of_activations_pools_and_preprocessing():
    modules = ("prelu", "rrelu")
    names = [name for name in ACTIVATIONS if name not in (*modules, "maxout")]  # maxout is below

    def network(images):
        x = (images.astype(jnp.float32) - 128) / 64
        x = jnp.concatenate([ACTIVATIONS[name](x) for name in names], axis=-1)
        x = maxout(x, 3)
        parts = (
            avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
            avg_pool(x, (3, 3), (2, 2), 1),
            max_pool(x, (3, 3), (2, 2), 0, ceil_mode=True),
        )
        return jnp.concatenate(
            [part.reshape(-1, math.prod(part.shape[1:])) for part in parts], axis=-1
        )

    same(network, (4, 5, 3))
    rng = np.random.default_rng(0)
    mean, whiten = rng.random((4, 5, 3), np.float32), rng.random((60, 60), np.float32) / 30
    config = recipes.recipe("resnet18")
    normalize = build_data.make_normalize(config, Statistics("zca", 9.0, mean, whiten))
    same(lambda images: normalize(images).reshape(-1, 60), (4, 5, 3))


@with_onnx
def test_what_onnx_export_does_not_know_is_named():
    with pytest.raises(UserError, match="does not know the operation 'cumsum'"):
        onnx.convert(lambda images: jnp.cumsum(images.astype(jnp.float32), 1), (3,), np.uint8)


def test_a_package_that_is_missing_is_named(photo_run, tmp_path, monkeypatch):
    for package in ONNX.packages:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="onnx needs onnx and onnxruntime: pip install onnx onnxr"):
        export.main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}/model.onnx"])


def test_mistakes_are_user_errors(photo_run, tmp_path):
    for flags, message in (
        (["--workdir=/nowhere", f"--out={tmp_path}/x.onnx"], "not the workdir of a run"),
        ([f"--workdir={photo_run.workdir}"], "--out"),
        (
            [f"--workdir={photo_run.workdir}", f"--out={tmp_path}", "--format=onnx"],
            "cannot write",
        ),
        ([f"--workdir={photo_run.workdir}", "--out=model.pt"], r"\.stablehlo, \.onnx or \.mlir"),
        (
            [f"--workdir={photo_run.workdir}", "--out=model.onnx", "--format=stablehlo"],
            r"ends with \.onnx",
        ),
        (
            [f"--workdir={photo_run.workdir}", "--checkpoint=9", f"--out={tmp_path}/x.onnx"],
            "step 9",
        ),
        ([f"--workdir={photo_run.workdir}", "--format=onx", f"--out={tmp_path}/x"], "mean.* onnx"),
    ):
        with pytest.raises(UserError, match=message) as info:
            export.main(flags)
        assert info.value.exit_code == 2
    assert not list(tmp_path.iterdir())
