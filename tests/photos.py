"""A run on image files whose folder is gone once it is over, as where a network is put to use."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcnn.config import recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.evaluation import evaluate
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.training import train

CLASSES = ("black cat", "dog", "eel")


class PhotoRun(NamedTuple):
    """Where its workdir and its test images are, and what it said of them."""

    workdir: Path
    images: Path
    results: dict[str, float]

    def state(self):
        """The latest checkpoint, as nested dictionaries."""
        checkpoints = Checkpoints(self.workdir / "checkpoints", read_only=True)
        try:
            return checkpoints.restore(None).state
        finally:
            checkpoints.close()

    def config(self):
        return make_config(self.images.parent)


def write_photos(root, each=4):
    """Images of several sizes and formats, brighter from class to class."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(each):
                height, width = rng.integers(18, 40, 2)
                pixels = rng.normal(60 + 60 * label, 40, (height, width, 3)).clip(0, 255)
                ending = ("png", "jpg", "webp")[number % 3]
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.{ending}")


def make_config(root):
    config = recipes.recipe("resnet18", "folder")
    config.model.overrides.update(stage_sizes=(1, 1), width=4)
    config.data.update(dir=str(root), image_size=16, num_workers=0)
    config.train.update(length="4steps", batch_size=8, ema_decay=0.5)
    config.eval.every = "2steps"
    config.checkpoint.update(every="2steps", metric="top5")
    config.schedule.update(learning_rate=0.1, warmup="0steps", reference_batch=0)
    return config


def make_run(directory):
    write_photos(directory / "data")
    train.run(freeze(make_config(directory / "data")), directory / "run")
    results = evaluate.run(directory / "run")
    (directory / "data").rename(directory / "elsewhere")
    return PhotoRun(directory / "run", directory / "elsewhere" / "test", results)
