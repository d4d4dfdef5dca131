"""The package as somebody else's program or notebook imports it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxcnn
from jaxcnn import predict
from jaxcnn.config import user_modules
from jaxcnn.errors import UserError
from jaxcnn.models import MODELS
from jaxcnn.run.checkpoint import init_from, restore
from tests.checkpoints import reseal

ROOT = Path(__file__).parents[1]
OWN = """
from pathlib import Path
from flax import linen as nn
import jax.numpy as jnp
Path("imported").touch()

class MyNet(nn.Module):
    num_classes: int = 7
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.num_classes)(images.mean((1, 2)))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A current directory with a module of the user's own, as `python -m` sees it."""
    (tmp_path / "my_own_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_own_net:MyNet"
    MODELS.pop("my_own_net:MyNet", None)
    sys.modules.pop("my_own_net", None)


@pytest.mark.slow
def test_every_name_of_the_package_is_reached_without_another_import():
    program = (
        "import sys, jaxcnn; before = {'jax', 'flax', 'numpy'} & set(sys.modules)\n"
        "print(sorted(before), set(jaxcnn.__all__) <= set(dir(jaxcnn)), jaxcnn.__version__)\n"
        "print(jaxcnn.ops.conv.__name__, jaxcnn.layers.ConvNormAct.__name__)\n"
        "print(jaxcnn.models.resnet.__name__)\n"
        "print('ml_collections' in sys.modules)\n"
        "from jaxcnn import *\n"
        "print(load.__name__, all(name in globals() for name in jaxcnn.__all__))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    first, *others = done.stdout.splitlines()
    assert first.startswith("[] True 0."), done.stderr
    assert others == ["jaxcnn.ops.conv ConvNormAct", "jaxcnn.models.resnet", "False", "load True"]


def test_every_public_name_of_a_folder_is_there():
    for module in (jaxcnn, jaxcnn.analysis, jaxcnn.attribution, jaxcnn.layers, jaxcnn.ops):
        assert module.__all__
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_a_name_that_there_is_not_is_an_attribute_error():
    for module in (jaxcnn, jaxcnn.ops, jaxcnn.analysis):
        with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
            _ = module.nosuch


def test_sources_that_are_not_installed_say_so(monkeypatch, tmp_path):
    from importlib import metadata

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert jaxcnn._version() == "0.1.0+source"
    monkeypatch.setattr(jaxcnn, "__file__", str(tmp_path / "jaxcnn" / "__init__.py"))
    assert jaxcnn._version() == "unknown"


@pytest.mark.slow
def test_a_loaded_network_answers_as_the_command_does(photo_run, monkeypatch):
    monkeypatch.setenv("HOME", str(photo_run.workdir.parent))
    network = jaxcnn.load("~/run", checkpoint=4)
    files = sorted((photo_run.images / "dog").iterdir())
    answers = predict.predict(network, files, top_k=3)
    wanted = [[g.probability for g in sorted(gs, key=lambda g: g.label)] for _, gs in answers]
    np.testing.assert_allclose(network.predict(files), wanted, atol=1e-6)
    assert (network.class_names, network.image_shape, network.step) == (
        ("black cat", "dog", "eel"),
        (16, 16, 3),
        4,
    )
    assert "array(" not in repr(network).lower(), "a line without the weights"

    file = files[0]
    images = network.preprocess(file)
    logits = network.model.apply(network.variables, images)
    np.testing.assert_allclose(jax.nn.softmax(logits), wanted[:1], atol=1e-6)
    assert (images.shape, images.dtype) == ((1, 16, 16, 3), jnp.float32)
    pixels = np.asarray(Image.open(file))
    for same in (str(file), file.read_bytes(), Image.open(file), pixels, pixels[None]):
        np.testing.assert_array_equal(network.preprocess(same), images)
    raw = photo_run.state()["params"]
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), raw, network.variables["params"])
    assert max(jax.tree.leaves(apart)) > 1e-3, "averaged weights are taken"


@pytest.mark.slow
def test_any_number_of_images_needs_few_programs(photo_run):
    network = jaxcnn.load(photo_run.workdir)
    seen, classify = [], network.classify
    network.__dict__["classify"] = lambda images: seen.append(len(images)) or classify(images)
    images = np.random.default_rng(0).integers(0, 256, (67, 16, 16, 3), np.uint8)
    together = network.predict(images)
    assert (together.shape, seen) == ((67, 3), [64, 4])
    alone = np.concatenate([network.predict(image) for image in images[[0, 1, 63, 64, 66]]])
    np.testing.assert_allclose(alone, together[[0, 1, 63, 64, 66]], atol=1e-6)


def test_what_cannot_be_loaded_or_read_is_said_in_one_line(photo_run, tmp_path):
    with pytest.raises(UserError, match="neither a run, a folder of weights nor a name"):
        jaxcnn.load(tmp_path / "gone")
    with pytest.raises(UserError, match="latest, best or a step"):
        jaxcnn.load(photo_run.workdir, checkpoint="worst")
    network = jaxcnn.load(photo_run.workdir)
    wrong = {
        r"float32 \[8, 8, 3\]": np.zeros((8, 8, 3), np.float32),
        r"uint8 \[3, 8, 8\]": np.zeros((3, 8, 8), np.uint8),
        r"uint8 \[0, 8, 8, 3\]": np.zeros((0, 8, 8, 3), np.uint8),
        "no images": [],
        "int is no image": 7,
        "gone.png cannot be read: No such file": "gone.png",
        "the image cannot be read": b"torn",
    }
    for line, images in wrong.items():
        with pytest.raises(UserError, match=line):
            network.preprocess(images)


def rename(copy, name):
    """A workdir whose config, beside and within the checkpoints, names another network."""
    saved = json.loads((copy / "config.json").read_text())
    saved["model"].update(name=name, overrides={})
    (copy / "config.json").write_text(json.dumps(saved))
    reseal(copy, lambda meta: meta["config"]["model"].update(name=name, overrides={}))


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", ["os:system", "my_own_net:MyNet", "torchvision/my_own_net:MyNet"])
def test_what_a_workdir_names_is_not_imported(photo_run, tmp_path, own, name, sealed):
    copy = shutil.copytree(photo_run.workdir, tmp_path / "copy")
    rename(copy, name)
    if not sealed:
        shutil.rmtree(copy / "checkpoints")
    attempts = (
        lambda: jaxcnn.load(copy),
        lambda: predict.main([f"--workdir={copy}", str(photo_run.images)]),
        lambda: init_from.read(copy),
        lambda: jaxcnn.create_model(name),
    )
    for attempt in attempts:
        with pytest.raises(UserError) as error:
            attempt()
        assert "\n" not in str(error.value)
        assert "if you trust it" in str(error.value) or "/" in name or not sealed
    assert not (tmp_path / "imported").exists()
    assert "my_own_net" not in sys.modules


def test_the_user_s_name_must_be_the_run_s(photo_run, tmp_path, own):
    copy = shutil.copytree(photo_run.workdir, tmp_path / "copy")
    rename(copy, "my_own_net:Other")
    with pytest.raises(UserError, match="is not the run's"):
        jaxcnn.load(copy, model=own)
    assert not (tmp_path / "imported").exists()
    rename(copy, own)
    config = restore.read_config(copy, "latest", own)
    assert config.model.name == own
    assert jaxcnn.create_model(own).num_classes == 7
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no_such_module:Net", "cannot import no_such_module: ModuleNotFoundError"),
        ("my_own_net:Missing", "my_own_net has no Missing"),
        ("types:SimpleNamespace", "SimpleNamespace"),
        ("os:system", "takes no num_classes"),
        ("math:hypot", "takes no num_classes"),
        ("math:pi", "no Flax module class"),
        ("my own:Net", "MODULE:NETWORK"),
        (":", "MODULE:NETWORK"),
    ],
)
def test_a_module_without_the_network_is_said_in_one_line(own, name, line):
    with pytest.raises(UserError, match=line) as error:
        user_modules.import_model(name)
    assert "\n" not in str(error.value)
    assert name not in MODELS


@pytest.mark.exhaustive
def test_a_user_s_own_network_on_the_command_line(own, tmp_path):
    """Trained, continued, evaluated and asked from another directory than the package's."""

    def command(module, *flags):
        return subprocess.run(
            [sys.executable, "-m", f"jaxcnn.{module}", f"--workdir={tmp_path}/run", *flags],
            capture_output=True,
            text=True,
            timeout=500,
            cwd=tmp_path,
        )

    name = f"--config.model.name={own}"
    train = command(
        "main", f"--config={ROOT}/configs/lenet5.py", name, "--config.train.length=2steps"
    )
    assert train.returncode == 0, train.stderr
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    refused = [command("main", "--mode=evaluate"), command("predict", "x.png")]
    for done in refused:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    answered = [
        command("main", "--mode=evaluate", name),
        command("predict", f"--model={own}", "x.png"),
    ]
    assert [done.returncode for done in answered] == [0, 0], answered


@pytest.mark.exhaustive
def test_a_type_checker_knows_the_names(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(
        "import jaxcnn\n"
        "reveal_type(jaxcnn.create_model('resnet18'))\n"
        "reveal_type(jaxcnn.load('run').predict('x.png'))\n"
        "reveal_type(jaxcnn.__version__)\n"
        "jaxcnn.no_such_name\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "user.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    assert 'Revealed type is "flax.linen.module.Module"' in done.stdout
    assert "numpy.ndarray" in done.stdout
    assert re.search(r'Revealed type is "(builtins\.)?str"', done.stdout)
    assert '"no_such_name"' in done.stdout
