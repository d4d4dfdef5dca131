"""An exported network is the network, for any batch and every platform, without jaxcnn."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as exporting

from jaxcnn import create_model, export, factories, papers
from jaxcnn.errors import UserError
from jaxcnn.trained import Trained
from tests.interop import small

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


def test_a_python_without_jaxcnn_gets_the_network_s_logits(photo_run, tmp_path, capsys):
    out = tmp_path / "new" / "model.stablehlo"
    export.main([f"--workdir={photo_run.workdir}", f"--out={out}"])
    printed = capsys.readouterr().out
    assert "uint8 [n, 16, 16, 3] → logits, float32 [n, 3]" in printed
    assert "cpu, cuda, tpu" in printed
    config = photo_run.config()
    cropper = factories.make_cropper(config)
    files = sorted(path for path in photo_run.images.rglob("*") if path.is_file())
    images = np.stack([cropper(file.read_bytes(), None, "") for file in files])
    np.save(tmp_path / "images.npy", images)
    names = {"program": out, "images": tmp_path / "images.npy", "out": tmp_path / "logits.npz"}
    script = RELOAD.format(
        path=[place for place in sys.path if place and "jaxcnn" not in place],
        **{name: str(path) for name, path in names.items()},
    )
    subprocess.run([sys.executable, "-I", "-c", script], check=True, timeout=99, cwd=tmp_path)
    model = factories.make_model(config, 3)
    wanted = model.apply(
        photo_run.state()["ema"], factories.make_normalize(config)(images), train=False
    )
    with np.load(tmp_path / "logits.npz") as found:
        for count in (1, 3, 12):
            logits = found[f"n{count}"]
            assert logits.dtype == np.float32
            assert logits.shape == (count, 3)
            np.testing.assert_allclose(logits, wanted[:count], atol=1e-5)
    assert list(out.parent.iterdir()) == [out]


def untrained(name, size, dtype="float32", **overrides):
    """A network with random weights, as if restored."""
    config = papers.resnet("resnet18")
    config.model.update(name=name, dtype=dtype)
    config.model.overrides.update(overrides)
    config.data.update(image_size=size, channels=3, mean=(0.4,), std=(0.2,))
    model = create_model(name, 5, dtype=factories.DTYPES[dtype], **overrides)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = small.filled(jax.eval_shape(model.init, jax.random.key(0), images))
    variables = {"batch_stats": {}, **variables}
    state = SimpleNamespace(ema=None, variables=lambda averaged: variables)
    return config, Trained(model, state, 0, 5, None)


NETWORKS = {
    "means, concatenations": (
        ("densenet_bc_100_12", 16),
        {"growth_rate": 4, "stage_sizes": (2, 1)},
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


@pytest.mark.parametrize(("network", "fields"), NETWORKS.values(), ids=NETWORKS)
def test_formulas_of_our_own_are_exported_for_every_platform(network, fields):
    config, found = untrained(*network, **fields)
    program = export.export(config, found)
    exported = exporting.deserialize(bytearray(program))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    (images,), (logits,) = exported.in_avals, exported.out_avals
    assert str(images.shape[0]) == "n"
    assert (images.dtype, logits.dtype) == (np.uint8, np.float32)
    assert export.difference(program, config, found) <= (
        1e-5 if found.model.dtype == jnp.float32 else export.ATOL["bfloat16"]
    )


def test_a_program_that_is_not_the_network_is_not_written(photo_run, tmp_path, monkeypatch):
    honest = export.export

    def wrong(config, found):
        variables = jax.tree.map(lambda leaf: leaf * 1.001, found.state.ema)
        return honest(config, found._replace(state=found.state.replace(ema=variables)))

    monkeypatch.setattr(export, "export", wrong)
    with pytest.raises(UserError, match="differ from the network's by"):
        export.main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}/x"])
    assert not list(tmp_path.iterdir())


def test_mistakes_are_user_errors(photo_run, tmp_path):
    for flags, message in (
        (["--workdir=/nowhere", f"--out={tmp_path}/x"], "no workdir of a run"),
        ([f"--workdir={photo_run.workdir}"], "--out"),
        ([f"--workdir={photo_run.workdir}", f"--out={tmp_path}"], "cannot write"),
        ([f"--workdir={photo_run.workdir}", "--checkpoint=9", f"--out={tmp_path}/x"], "step 9"),
    ):
        with pytest.raises(UserError, match=message) as info:
            export.main(flags)
        assert info.value.exit_code == 2
    assert not list(tmp_path.iterdir())
