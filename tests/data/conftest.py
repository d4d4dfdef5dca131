import gc

import numpy as np
import pytest

from tests.hostile import encode


@pytest.fixture(name="encode")
def encode_fixture():
    return encode


@pytest.fixture
def image_folder(tmp_path):
    """Returns a function that fills DIR/<part>/<class> with JPEGs whose brightness is the label."""

    def fill(part="train", classes=("ant", "bee", "cow"), per_class=7, size=(40, 30)):
        rng = np.random.default_rng(len(part))
        for label, name in enumerate(classes):
            (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                pixels = rng.integers(0, 60, (size[1], size[0], 3)) + 60 * label
                data = encode(pixels.astype(np.uint8), "JPEG", quality=95)
                (tmp_path / part / name / f"{number}.jpg").write_bytes(data)
        return tmp_path

    return fill


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Returns (data_dir, pixels) of the data set `tiny`: 7 images to train on and 3 others."""
    # While TFDS is imported it replaces __import__ by one that knows no relative imports, which
    # the clean-up of earlier tests' worker processes would meet.
    gc.collect()
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    root = tmp_path_factory.mktemp("tfds")

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "id": tfds.features.Text(),
                "picture": tfds.features.Image(shape=(None, None, 3)),
                "kind": tfds.features.ClassLabel(names=["ant", "bee", "cow"]),
            }
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {
                "train": self._generate_examples(0, 7),
                "holdup": self._generate_examples(7, 10),
            }

        def _generate_examples(self, start, stop):
            for number in range(start, stop):
                data = {"id": f"n{number}", "picture": encode(pixels[number]), "kind": number % 3}
                yield number, data

    Tiny(data_dir=root, file_format="array_record").download_and_prepare()
    return root, pixels
