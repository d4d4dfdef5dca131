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
