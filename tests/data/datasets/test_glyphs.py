"""Characters drawn at will: what each image depends on, and that they can be learnt."""

import importlib.util

import numpy as np
import pytest

from jaxcnn.data import load
from jaxcnn.data.datasets import glyphs
from jaxcnn.data.datasets.glyphs import CHARACTERS, FONTS
from jaxcnn.errors import UserError


def test_an_image_is_a_function_of_split_and_index():
    long = load("glyphs", "train", image_size=12, num_examples=80)
    short = load("glyphs", "train", image_size=12, num_examples=40)
    test = load("glyphs", "test", image_size=12, num_examples=40)
    assert long.images.shape == (80, 12, 12, 3)
    assert long.images.dtype == np.uint8
    assert np.array_equal(long.images[:40], short.images)
    assert len({image.tobytes() for image in np.concatenate([long.images, test.images])}) == 120
    assert long.labels.tolist() == [index % 36 for index in range(80)]
    assert long.class_names == tuple(CHARACTERS)
    assert len(set(CHARACTERS)) == 36
    assert not set("IO") & set(CHARACTERS)


def test_every_font_has_every_character():
    drawn = {(c, f): np.asarray(glyphs._character(c, f)) for c in CHARACTERS for f in FONTS}
    assert all(picture.shape == (64, 64) for picture in drawn.values())
    for font in FONTS:
        assert len({drawn[c, font].tobytes() for c in CHARACTERS}) == 36, font
    for character in CHARACTERS:
        assert len({drawn[character, font].tobytes() for font in FONTS}) > 15, character


def test_the_character_is_in_the_middle_lighter_than_what_surrounds_it():
    """Without clutter and noise: the mean over the middle is larger than that of the border."""
    images = load("glyphs", "test", image_size=24, channels=1, num_examples=360).images[..., 0]
    inner, whole = images[:, 6:18, 6:18].mean(), images.mean()
    assert inner > whole + 15
    grey, colour = (
        load("glyphs", "test", image_size=12, channels=channels, num_examples=36).images
        for channels in (1, 3)
    )
    luminance = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luminance - grey[..., 0]).max() < 1.5


@pytest.mark.slow
def test_a_class_can_be_learnt_and_not_by_its_mean_image_alone():
    """Nearest means are far above chance, 1/36, and far below what networks reach."""
    train, test = (
        load("glyphs", split, image_size=16, channels=1, num_examples=720)
        for split in ("train", "test")
    )

    def flat(dataset):
        pixels = dataset.images.reshape(720, -1).astype(np.float64)
        pixels -= pixels.mean(1, keepdims=True)
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)

    known, asked = flat(train), flat(test)
    means = np.stack([known[train.labels == label].mean(0) for label in range(36)])
    right = ((asked @ means.T).argmax(1) == test.labels).mean()
    assert 0.2 < right < 0.75


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 4}, "image_size=4: glyphs need 8 pixels"),
        ({"channels": 2}, "channels=2: glyphs have 3, or 1"),
        ({"num_examples": 35}, "num_examples=35: glyphs need 36 or more"),
    ],
)
def test_what_is_not_possible_is_one_line(fields, message):
    with pytest.raises(UserError, match=message):
        load("glyphs", "train", **fields)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    glyphs._character.cache_clear()
    with pytest.raises(UserError, match="pip install matplotlib"):
        load("glyphs", "train", image_size=9, num_examples=36)
