"""A run takes its images from memory, from the devices or from files, with the same numbers."""

import numpy as np
import pytest

from jaxcnn.config import build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.run import distributed
from tests.hostile import encode
from tests.marks import exhaustive
from tests.runs import TINY, finish, records, start


def placed(split="train", **fields):
    config = recipes.recipe("cifar_resnet20")
    config.data.update(fields)
    frozen = freeze(config)
    return build_data.place(frozen, build_data.load_kept(frozen, split))


def test_where_images_are(monkeypatch, tmp_path):
    assert not placed().on_device  # on a CPU
    assert placed(cache="device").on_device
    size = placed().images.nbytes
    monkeypatch.setattr(distributed, "device_memory", lambda: 10 * size)
    assert placed().on_device
    assert not placed(cache="memory").on_device
    assert not placed(cache="none").on_device
    monkeypatch.setattr(distributed, "device_memory", lambda: 9 * size)
    assert not placed().on_device
    assert placed(cache="device").on_device


def test_images_of_changing_size_are_on_no_device(monkeypatch):
    monkeypatch.setattr(distributed, "device_memory", lambda: 1 << 40)
    resized = {"image_size": 16, "size_schedule": ((0, 8), (0.5, 16))}
    assert not placed(**resized).on_device
    assert placed("test", **resized).on_device
    with pytest.raises(UserError, match=r"cache=device: .*its size changes"):
        placed(cache="device", **resized)
    with pytest.raises(UserError, match=r"cache=device: .*from no files"):
        placed(cache="device", kind="synthetic", image_size=512, num_examples=2000)


@pytest.fixture
def photos(tmp_path):
    """21 images of two classes to train on, and as many to test on."""
    pixels = np.random.default_rng(0).integers(0, 256, (42, 8, 8, 1), np.uint8)
    for number, image in enumerate(pixels):
        folder = tmp_path / "photos" / ("train", "test")[number % 2] / f"class{number % 3 % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encode(image[..., 0], "PNG"))
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "more"), [("device", ("--config.train.steps_per_call=3",)), exhaustive("auto", ())]
)
def test_a_run_has_the_same_numbers(place, more, tmp_path, photos):
    """Training with every kind of batch, statistics, recalibration and evaluation."""
    flags = (
        *TINY,
        "--config.data.kind=folder",
        f"--config.data.dir={photos}",
        "--config.data.holdout=4",
        "--config.eval.recalibrate_batches=2",
        "--config.train.batch_size=8",
        "--config.train.length=7steps",
    )
    found = []
    for cache, fields in (("none", ("--config.data.num_workers=1",)), (place, more)):
        workdir = tmp_path / cache
        fields += (f"--config.data.cache={cache}", f"--workdir={workdir}")
        finish(start(*flags, *fields, devices=2))
        found.append(records(workdir)[-1])
    from_files, kept = found
    assert from_files["state_sha256"] == kept["state_sha256"]
    for key, value in from_files.items():
        if key.startswith(("test", "validation")):
            np.testing.assert_allclose(kept[key], value, rtol=0 if place == "auto" else 1e-7)
