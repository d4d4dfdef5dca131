"""A run is continued, and its result repeated, with the data that it was begun with."""

import shutil

import numpy as np
import pytest
from PIL import Image

from jaxcnn.config.config_dict import freeze
from jaxcnn.data import contents
from jaxcnn.errors import UserError
from jaxcnn.training import train
from tests import photos
from tests.training.test_selection import make_config


def picture(path, size=20):
    pixels = np.random.default_rng(size).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.slow
def test_images_that_come_go_and_change_are_noticed(tmp_path, capsys):
    root, run = tmp_path / "photos", tmp_path / "run"
    photos.write_photos(root)
    config = make_config(root)
    finished = train.run(freeze(config), run)

    def refused(message):
        with pytest.raises(UserError, match=f"run was started with different data: {message}"):
            train.run(freeze(config), run)

    shutil.move(root, tmp_path / "elsewhere")
    config.data.dir = str(root := tmp_path / "elsewhere")
    assert train.run(freeze(config), run) == finished  # the same images in another place
    picture(root / "train" / "dog" / "new.png")
    refused(r"train: dog 4 → 5 examples\. Use another --workdir")
    (root / "train" / "dog" / "0.png").unlink()
    refused("train: other files, as many as before")
    (root / "train" / "dog" / "new.png").rename(root / "train" / "dog" / "0.png")
    refused("train: other files, as many as before")  # of another size
    config.allow_change = "data"
    assert train.run(freeze(config), run) == finished
    config.allow_change = ""
    photos.write_photos(tmp_path / "again")
    config.data.dir = str(root := tmp_path / "again")
    assert train.run(freeze(config), run) == finished
    (root / "test" / "eel" / "0.png").unlink()
    refused("test: eel 4 → 3 examples")
    config.train.length, config.allow_change, config.data.dir = "2steps", "train", "elsewhere"
    config.data.dir = str(tmp_path / "elsewhere")
    refused("test|train")
    config.allow_change = "train,data"
    with pytest.raises(
        UserError, match=r"is at step 4, past .* \(train\.length=2steps\): lengthen"
    ):
        train.run(freeze(config), run)
    assert "16steps" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_finished_run_is_tested_again_by_another_protocol(tmp_path, capsys):
    photos.write_photos(tmp_path / "photos")
    config = make_config(tmp_path / "photos")
    first = train.run(freeze(config), tmp_path / "run")
    config.eval.protocol = "flip"
    second = train.run(freeze(config), tmp_path / "run")
    assert (first["protocol"], second["protocol"]) == ("center", "flip")
    assert second["state_sha256"] == first["state_sha256"]
    assert second["test/nll"] != first["test/nll"]
    capsys.readouterr()
    assert train.run(freeze(config), tmp_path / "run") == second
    assert "is finished" in capsys.readouterr().out


def test_differences_of_many_classes_are_counted():
    before = {"train": {"parts": {str(i): 1 for i in range(9)}, "sha256": "a"}}
    now = {"train": {"parts": {str(i): 2 for i in range(9)}, "sha256": "b"}}
    (line,) = contents.differences(before, now)
    assert line.endswith("2 1 → 2 examples, and 6 more")
    assert contents.differences(before, before) == []
