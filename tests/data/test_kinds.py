"""`load`, the digits and the synthetic images."""

import subprocess
import sys

import numpy as np
import pytest

from jaxcnn.data import load
from jaxcnn.data.datasets import synthetic
from jaxcnn.errors import UserError


def test_digits_have_the_published_sizes_and_every_class_in_proportion():
    train, test = (load("digits", split, channels=1) for split in ("train", "test"))
    assert (train.num_examples, test.num_examples) == (1437, 360)
    assert train.images.shape == (1437, 32, 32, 1)
    assert train.images.dtype == np.uint8
    assert set(np.bincount(test.labels)) <= {35, 36, 37}
    assert train.num_classes == test.num_classes == 10


def test_digits_are_the_originals_and_no_test_digit_is_trained_on():
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    train, test = (load("digits", split, image_size=8, channels=1) for split in ("train", "test"))
    numbers = [
        int(dataset.describe(index).split()[-1])
        for dataset in (train, test)
        for index in range(dataset.num_examples)
    ]
    assert sorted(numbers) == list(range(1797))
    pixels = np.concatenate([train.images, test.images])[..., 0]
    assert np.array_equal(pixels, np.round(digits.images[numbers] * 255 / 16))
    assert np.array_equal(np.concatenate([train.labels, test.labels]), digits.target[numbers])


def test_three_channels_repeat_the_one():
    grey, rgb = (load("digits", "test", image_size=12, channels=channels) for channels in (1, 3))
    assert np.array_equal(rgb.images, np.repeat(grey.images, 3, axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["digits", "glyphs", "synthetic"])
def test_the_held_out_part_is_disjoint_stable_and_stratified(kind):
    whole = load(kind, "train", image_size=8)
    kept, held, again = (
        load(kind, split, image_size=8, holdout=100)
        for split in ("train", "validation", "validation")
    )
    assert held.num_examples == 100
    assert kept.num_examples == whole.num_examples - 100
    names = [dataset.describe(i) for dataset in (kept, held) for i in range(dataset.num_examples)]
    assert sorted(names) == sorted(whole.describe(i) for i in range(whole.num_examples))
    assert np.array_equal(held.images, again.images)
    share = np.bincount(held.labels) - 100 * np.bincount(whole.labels) / whole.num_examples
    assert np.abs(share).max() <= 1
    by_name = dict(zip(names, np.concatenate([kept.images, held.images]), strict=True))
    assert np.array_equal(by_name[whole.describe(17)], whole.images[17])


@pytest.mark.parametrize("in_memory", [True, False])
def test_synthetic_images_are_a_function_of_split_and_index(in_memory, monkeypatch):
    if not in_memory:
        monkeypatch.setattr(synthetic, "MEMORY_LIMIT", 0)
    long = load("synthetic", "train", image_size=9, channels=2, num_examples=40, num_classes=7)
    short = load("synthetic", "train", image_size=9, channels=2, num_examples=20, num_classes=7)
    test = load("synthetic", "test", image_size=9, channels=2, num_examples=20, num_classes=7)
    assert long.in_memory == in_memory

    def of(dataset, index):
        if dataset.in_memory:
            return dataset.images[index], dataset.labels[index]
        return dataset.read(index, None)

    images = [of(long, index)[0] for index in range(40)]
    assert len({image.tobytes() for image in images}) == 40
    assert all(image.shape == (9, 9, 2) and image.dtype == np.uint8 for image in images)
    for index in range(20):
        assert np.array_equal(of(short, index)[0], images[index])
        assert not np.array_equal(of(test, index)[0], images[index])
        assert of(short, index)[1] == of(test, index)[1] == index % 7


def test_synthetic_images_can_be_learnt_and_not_from_the_noise_alone():
    train, test = (
        load("synthetic", split, image_size=16, num_classes=20, num_examples=400)
        for split in ("train", "test")
    )
    means = np.stack([train.images[train.labels == label].mean(0) for label in range(20)])
    distance = ((test.images[:, None].astype(float) - means[None]) ** 2).sum((2, 3, 4))
    assert (distance.argmin(1) == test.labels).mean() > 0.95
    spread = train.images[train.labels == 0].astype(float).std(axis=0)
    assert spread.mean() > 20  # of 255: no two images of a class are near each other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kind": "digit", "split": "train"},
            "kind='digit' is not possible: did you mean digits",
        ),
        ({"kind": "digits", "split": "valid"}, "split 'valid' does not exist: did you mean valid"),
        ({"kind": "digits", "split": "validation"}, "digits has no validation split.*set holdout"),
        ({"kind": "digits", "split": "train", "holdout": 1436}, "hold out 10 to 1427"),
        ({"kind": "digits", "split": "train", "holdout": 3}, "hold out 10 to 1427"),
        (
            {"kind": "digits", "split": "train", "holdout": -1},
            "holdout=-1 is not a whole number from 0",
        ),
        (
            {"kind": "digits", "split": "train", "image_size": 0},
            "image_size=0 is not a whole number from 1",
        ),
        ({"kind": "digits", "split": "train", "channels": 2}, "channels=2: image files give 1"),
        ({"kind": "synthetic", "split": "train", "num_classes": 0}, "num_classes=0"),
        ({"kind": "folder", "split": "train"}, "needs data.dir"),
        (
            {"kind": "folder", "split": "train", "train_crop": "random"},
            "train_crop='random' is not possible",
        ),
        ({"kind": "folder", "split": "train", "eval_crop": "centre"}, "did you mean center"),
        (
            {
                "kind": "folder",
                "split": "train",
                "eval_crop": "center",
                "image_size": 224,
                "resize": 200,
            },
            "resize=200 is smaller than the crop",
        ),
        (
            {"kind": "folder", "split": "train", "train_crop": "scale_jitter", "image_size": 299},
            r"scale_range=\(256, 480\) must .* image_size=299",
        ),
        ({"kind": "tfds", "split": "train"}, "needs data.name"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        load(**arguments)
    assert "\n" not in str(error.value)


def test_loading_imports_neither_tensorflow_nor_what_it_does_not_need():
    code = (
        "import sys; from jaxcnn.data import load, pipeline; load('synthetic', 'train');"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'grain', 'sklearn', 'PIL')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
