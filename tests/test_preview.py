"""The sheet shows what a run trains on."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jaxcnn.config import build_data, recipes
from jaxcnn.data.pipeline import train_batch
from jaxcnn.errors import UserError
from jaxcnn.preview import cells

ROOT = Path(__file__).parents[1]


@pytest.fixture
def config():
    config = recipes.recipe("lenet5_modern")
    config.data.update(pad=0, image_size=16)
    return config


@pytest.mark.parametrize("preprocess", ["channels", "mean_image"])
def test_without_augmentation_the_pixels_are_those_of_the_files(config, preprocess):
    config.data.preprocess = preprocess
    source = build_data.load_data(config, "train")
    batch = train_batch(source, batch_size=64, seed=0, step=3)
    shown = cells(config, step=3, count=20)
    assert len(shown) == 20
    for row, cell in enumerate(shown):
        assert np.abs(cell.pixels.astype(int) - batch["image"][row]).max() <= 1
        assert cell.caption == str(batch["label"][row])


@pytest.mark.slow
def test_mixed_images_tell_their_shares(config):
    plain = cells(config)
    config.data.mixup = 1.0
    own = [cell.pixels / 255 for cell in plain]
    for row, cell in enumerate(cells(config)):
        (name, share), (other, rest) = (line.split(": ") for line in cell.caption.split("\n"))
        assert (name, other) == (plain[row].caption, plain[row ^ 1].caption)
        assert float(share) + float(rest) == pytest.approx(1)
        expected = float(share) * own[row] + float(rest) * own[row ^ 1]
        np.testing.assert_allclose(cell.pixels / 255, expected, atol=0.02)


def test_contrast_that_cannot_be_undone_is_stretched(config):
    config.data.preprocess = "gcn"
    for cell in cells(config, count=5):
        assert (cell.pixels.min(), cell.pixels.max()) == (0, 255)


def test_rows_without_label_say_so(config):
    config.data.update(labelled=20, unlabelled_per_labelled=1)
    captions = [cell.caption for cell in cells(config)]
    assert captions[1::2] == ["unlabelled"] * 32
    assert "unlabelled" not in captions[::2]


@pytest.mark.parametrize(
    ("fields", "message"), [({"step": -1}, "step=-1"), ({"count": 0}, "count=0")]
)
def test_numbers_out_of_range_are_one_line(config, fields, message):
    with pytest.raises(UserError, match=f"--{message} is too small"):
        cells(config, **fields)


def preview(directory, *flags):
    command = [sys.executable, "-m", "jaxcnn.preview", *flags]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_command_writes_one_file(tmp_path):
    flags = (f"--config={ROOT}/configs/cifar_resnet20.py:synthetic", "--config.data.cutmix=1.0")
    done = preview(tmp_path, *flags, "--count=12", "--step=7")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "preview.png: 12 images of 32x32x3; cifar_resnet20:synthetic, step 7"
    )
    image = PIL.Image.open(io.BytesIO((tmp_path / "preview.png").read_bytes()))
    assert image.format == "PNG"
    assert image.width >= 300
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


@pytest.mark.slow
def test_mistakes_are_one_line(tmp_path):
    for flags, message in (
        (("--config.data.mixupp=1",), "did you mean data.mixup"),
        ((f"--out={ROOT}/README.md/x.png",), "README.md/x.png: "),
    ):
        done = preview(tmp_path, f"--config={ROOT}/configs/lenet5.py", *flags)
        assert done.returncode in (2, 73)
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
