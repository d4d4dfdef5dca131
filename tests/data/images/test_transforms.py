"""Boxes and pixels against the plain way of doing it."""

import io

import numpy as np
import PIL.Image
import pytest

from jaxcnn.data.images.decode import upright
from jaxcnn.data.images.transforms import Cropper, WholeImage
from jaxcnn.errors import UserError

BILINEAR = PIL.Image.Resampling.BILINEAR


@pytest.fixture
def photo(encode):
    """A smooth JPEG, as photographs are; its sides divide by no power of two."""
    rng = np.random.default_rng(0)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return encode(np.asarray(coarse.resize((501, 371), PIL.Image.Resampling.BICUBIC)), "JPEG")


def plain(data):
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("size", [(500, 375), (301, 477), (224, 224), (90, 500)])
def test_center_is_resize_then_crop(encode, size):
    rng = np.random.default_rng(1)
    small = PIL.Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    data = encode(np.asarray(small.resize(size, BILINEAR)))
    width, height = size
    short = min(size)
    new = (int(256 * width / short), int(256 * height / short))
    left, top = round((new[0] - 224) / 2), round((new[1] - 224) / 2)
    expected = plain(data).resize(new, BILINEAR).crop((left, top, left + 224, top + 224))
    for resize in (0, 256):
        found = Cropper(224, 3, "resize", "center", resize)(data, None, "x")
        assert np.abs(found.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_resize_takes_the_whole_image(photo):
    expected = np.asarray(plain(photo).resize((64, 64), BILINEAR))
    assert np.array_equal(Cropper(64)(photo, None, "x"), expected)


def test_none_leaves_the_pixels_alone(encode):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    cropper = Cropper(16, 3, "none", "none")
    for rng in (None, np.random.default_rng(0)):
        assert np.array_equal(cropper(encode(pixels), rng, "x"), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_frame_sets_the_image_in_the_middle_of_black(encode, channels):
    pixels = np.random.default_rng(0).integers(1, 256, (6, 7, 3), dtype=np.uint8)
    pixels = pixels if channels == 3 else pixels[..., 0]
    for rng in (None, np.random.default_rng(0)):
        found = Cropper(10, channels, "frame", "frame")(encode(pixels), rng, "x")
        assert np.array_equal(found[2:8, 1:8], pixels.reshape(6, 7, channels))
        assert np.count_nonzero(found) == pixels.size
    with pytest.raises(UserError, match="x is 7x6 and does not fit a frame of 5x5"):
        Cropper(5, channels, "frame", "frame")(encode(pixels), None, "x")


@pytest.mark.parametrize("train", ["resize", "random_resized", "scale_jitter"])
@pytest.mark.parametrize("size", [28, 56, 112])
def test_shrinking_in_the_decoder_changes_next_to_nothing(photo, train, size):
    cropper = Cropper(size, 3, train, scale_range=(size, 2 * size))
    shortened = 0
    for seed in range(20):
        box = cropper.box((501, 371), np.random.default_rng(seed))
        expected = plain(photo).resize((size, size), BILINEAR, box=box)
        found = cropper(photo, np.random.default_rng(seed), "x").astype(int)
        difference = np.abs(found - np.asarray(expected).astype(int))
        assert difference.mean() < 1
        shortened += difference.any()
    assert shortened or size > 28  # the short way is taken where much is thrown away


def turned(image, turn):
    """Returns a Pillow image as it is stored where the tag says `turn`, and that tag."""
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(turn, turn)
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    return upright(image, back), exif


TURNED = [(kind, turn) for kind in ("PNG", "WEBP", "TIFF") for turn in range(1, 9)]


@pytest.mark.parametrize(("kind", "turn"), TURNED)
def test_an_image_is_the_same_however_it_is_turned(encode, kind, turn):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    stored, exif = turned(PIL.Image.fromarray(pixels), turn)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encode(stored, kind, exif=exif, **options)
    assert np.array_equal(WholeImage(8)(data, None, "x"), pixels)
    cropper = Cropper(8, 3, "random_resized", "center")
    for seed in (None, 0, 1, 2):
        rngs = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        upright_one = cropper(encode(pixels), rngs[0], "x")
        assert np.array_equal(cropper(data, rngs[1], "x"), upright_one)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_jpeg_is_shrunk_in_the_decoder_without_a_shift(encode, photo, turn):
    stored, exif = turned(plain(photo), turn)
    data = encode(stored, "JPEG", quality=95, exif=exif)
    whole = upright(plain(data), turn)
    assert whole.size == (501, 371)
    cropper, far = Cropper(28, 3, "random_resized"), []
    for seed in range(20):
        box = cropper.box(whole.size, np.random.default_rng(seed))
        expected = np.asarray(whole.resize((28, 28), BILINEAR, box=box)).astype(int)
        found = cropper(data, np.random.default_rng(seed), "x")
        far.append(np.abs(found - expected).mean())
    assert 0 < max(far) < 1.3


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_tag_that_says_nothing_leaves_the_image_as_it_is(encode, value):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    data = encode(pixels, "PNG", exif=exif)
    assert np.array_equal(Cropper(8)(data, None, "x"), pixels)
    data = encode(pixels, "PNG", exif=b"Exif\0\0" + b"MM\0*\xff\xff\xff\xff" + b"junk")
    assert np.array_equal(Cropper(8)(data, None, "x"), pixels)


def test_random_resized_boxes_have_the_published_areas_and_aspects():
    cropper, rng = Cropper(224, 3, "random_resized"), np.random.default_rng(0)
    boxes = np.array([cropper.box((500, 400), rng) for _ in range(4000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, aspect = width * height / (500 * 400), width / height
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 500
    assert boxes[:, 3].max() <= 400
    assert 0.078 < area.min() < 0.1
    assert area.max() > 0.9
    assert 0.73 < aspect.min() < 0.77
    assert 1.30 < aspect.max() < 1.36
    small = area < 0.5  # always fits at the first try: uniform there
    assert abs(area[small].mean() - 0.29) < 0.01
    assert abs((aspect[small] < 1).mean() - 0.5) < 0.05
    room = (500 - width)[small]
    assert abs((boxes[small, 0] / room).mean() - 0.5) < 0.02


def test_areas_and_aspects_of_random_resized_are_uniform_where_every_box_fits():
    """Below 0.28 of the area of a square all aspects fit at once: no draw is thrown away."""
    cropper, rng = Cropper(224, 3, "random_resized"), np.random.default_rng(2)
    boxes = np.array([cropper.box((2000, 2000), rng) for _ in range(8000)])
    width, height = (boxes[:, 2] - boxes[:, 0]), (boxes[:, 3] - boxes[:, 1])
    area, aspect = width * height / 2000**2, width / height
    kept = area < 0.28
    counts, _ = np.histogram(area[kept], bins=10, range=(0.08, 0.28))
    assert sum((counts - counts.mean()) ** 2 / counts.mean()) < 28  # 9 degrees of freedom
    # U(3/4, 4/3), or by the swapped sides its inverse, each with probability 1/2.
    expected = rng.uniform(3 / 4, 4 / 3, kept.sum()) ** rng.choice([-1, 1], kept.sum())
    edges = np.linspace(3 / 4, 4 / 3, 11)
    found, wanted = (np.histogram(x, edges)[0] for x in (aspect[kept], expected))
    assert sum((found - wanted) ** 2 / (found + wanted)) < 28


def test_an_image_too_narrow_for_ten_tries_gives_its_middle_square():
    box = Cropper(224, 3, "random_resized").box((1000, 10), np.random.default_rng(0))
    assert np.allclose(box, (495, 0, 505, 10), atol=0.1)


def test_scale_jitter_draws_every_short_side_and_place():
    cropper, rng = Cropper(20, 3, "scale_jitter", scale_range=(20, 24)), np.random.default_rng(0)
    boxes = np.array([cropper.box((60, 40), rng) for _ in range(3000)])
    side = 20 * 40 / (boxes[:, 3] - boxes[:, 1])  # the short side that it was cut from
    shares = [np.mean(np.isclose(side, short)) for short in range(20, 25)]
    assert np.allclose(shares, 0.2, atol=0.03)
    least = np.isclose(side, 20)  # of 30×20 pixels: 11 places across, one down
    assert np.allclose(boxes[least, 1], 0)
    assert np.allclose(np.unique(boxes[least, 0].round(6)), 2 * np.arange(11))
    assert boxes[:, 2].max() <= 60
