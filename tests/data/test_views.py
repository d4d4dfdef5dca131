"""What the test-time protocols cut out, by coordinates."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import data
from jaxcnn.data import pipeline
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.transforms import Cropper, WholeImage
from jaxcnn.data.views import (
    LONGEST,
    TWELFTHS,
    Views,
    aspect_of,
    aspects,
    five_crops,
    grid,
    resized,
    squares_crops,
    whole_square,
    with_views,
)
from jaxcnn.evaluation.multicrop import PROTOCOLS, make_protocol

ALL = (five_crops, grid, squares_crops, whole_square)


def image_of_places(width, height):
    """A pixel's channels are its place: column, row, and the 256s of both."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x % 256, y % 256, x // 256 + 16 * (y // 256)], axis=-1).astype(np.uint8)


def places(view):
    """Left, top, right and bottom pixels of a view of `image_of_places`."""
    column = view[..., 0] + 256 * (view[..., 2].astype(int) % 16)
    row = view[..., 1] + 256 * (view[..., 2].astype(int) // 16)
    assert (np.diff(column, axis=1) == 1).all()
    assert (np.diff(row, axis=0) == 1).all()
    return column[0, 0], row[0, 0], column[-1, -1] + 1, row[-1, -1] + 1


@pytest.mark.parametrize("portrait", [False, True])
def test_googlenets_144_crops(portrait):
    protocol = make_protocol("googlenet144", size=224, channels=3)
    assert protocol.views.scales == (256, 288, 320, 352)
    assert protocol.views.shapes == [(18, 224, 224)] * 4
    assert protocol.mirrored  # on the device, so that 72 become 144
    for scale in protocol.views.scales:
        long = 2 * scale - 6
        size = (scale, long) if portrait else (long, scale)
        far, middle = long - scale, scale // 2 - 3
        space = scale - 224
        expected = []
        for start in (0, middle, far):  # left, middle, right; or top, middle, bottom
            inside = [(0, 0), (space, 0), (0, space), (space, space), (space // 2, space // 2)]
            across, down = (0, start) if portrait else (start, 0)
            expected += [(across + x, down + y, 224) for x, y in inside]
            expected.append((across, down, scale))
        assert squares_crops(*size, 224) == expected


def test_alexnets_crops_are_the_corners_and_the_centre_of_the_middle_square():
    boxes = five_crops(341, 256, 224)
    assert boxes == [(42 + x, y, 224) for x, y in [(0, 0), (32, 0), (0, 32), (32, 32), (16, 16)]]
    assert make_protocol("ten_crop", size=224, channels=3).views.scales == (256,)
    assert make_protocol("ten_crop", size=224, channels=3, resize=300).views.scales == (300,)


def test_vggs_grid_is_even_over_the_whole_image():
    boxes = grid(424, 304, 224)
    lefts, tops = (0, 50, 100, 150, 200), (0, 20, 40, 60, 80)
    assert boxes == [(x, y, 224) for y, x in itertools.product(tops, lefts)]
    views = make_protocol("multi_crop", size=224, channels=3).views
    assert views.scales == (256, 384, 512)
    assert sum(count for count, *_ in views.shapes) * 2 == 150


def test_resnets_whole_images_are_at_five_scales():
    protocol = make_protocol("multi_scale_dense", size=224, channels=3)
    assert protocol.views.shapes == [(1, side, side) for side in (224, 256, 384, 480, 640)]
    assert not protocol.mirrored
    wide = dataclasses.replace(protocol.views, aspect=aspect_of(500, 375))
    assert wide.shapes[1:3] == [(1, 256, 341), (1, 384, 512)]
    assert dataclasses.replace(wide, aspect=aspect_of(333, 500)).shapes[1] == (1, 384, 256)


@given(st.integers(1, 900), st.integers(1, 900))
def test_the_aspect_of_a_whole_image_is_near_its_own(width, height):
    across, down = aspect_of(width, height)
    assert min(across, down) == TWELFTHS
    long = max(width, height) / min(width, height)
    if long <= 4:
        assert abs(max(across, down) / TWELFTHS / long - 1) < 1 / 24 + 1e-9
        assert (across > down) <= (width > height)
    else:
        assert max(across, down) == LONGEST


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_split_is_sorted_by_aspect_each_image_once(num_workers, encode):
    shapes = [(30, 20), (20, 30), None, (31, 20), (20, 20), (30, 20)] * 20  # height, width
    files = {shape: encode(np.zeros((*shape, 3), np.uint8)) for shape in shapes if shape}
    whole = WholeImage(20, 3)

    def read(index, rng):
        return whole(files.get(shapes[index], b"no image"), rng, ""), 0

    digits = data.load("digits", "test", image_size=8, channels=1)
    dataset = dataclasses.replace(
        digits, num_examples=len(shapes), images=None, labels=None, read=read
    )
    found = dict(aspects(dataset, num_workers=num_workers))
    assert {aspect: len(places) for aspect, places in found.items()} == {
        (12, 18): 60,  # and those that cannot be read
        (18, 12): 20,
        (12, 19): 20,
        (12, 12): 20,
    }
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(shapes)))
    assert (found[12, 19] % 6 == 3).all()
    ((aspect, places),) = aspects(digits)
    assert aspect == (12, 12)
    assert len(places) == 360


def test_whole_images_are_whole_at_every_scale():
    views = Views(8, 3, None, (12, 24), aspect=aspect_of(36, 24))
    image = image_of_places(36, 24)
    half, own = (part[0, 0] for part in views.unpack(views.cut(image)[None]))
    np.testing.assert_array_equal(own, image)
    assert half.shape == (12, 18, 3)
    assert np.abs(half - image.reshape(12, 2, 18, 2, 3).mean((1, 3))).max() < 4
    assert views.cost == (12 * 18 + 24 * 36) / 64


@given(
    st.sampled_from(ALL),
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.integers(1, 64),
    st.integers(0, 64),
)
def test_every_box_lies_in_the_image_and_their_number_never_changes(boxes, size, crop, more):
    width, height = resized(size, crop + more)
    assert min(width, height) == crop + more
    assert max(width, height) == int(max(size) / min(size) * (crop + more) + 1e-9)
    assert (width > height) <= (size[0] > size[1])
    assert (width < height) <= (size[0] < size[1])
    found = boxes(width, height, crop)
    assert len(found) == len(boxes(crop, crop, crop))
    for left, top, side in found:
        assert side in (crop, crop + more)
        assert 0 <= left <= left + side <= width
        assert 0 <= top <= top + side <= height


@pytest.mark.parametrize("boxes", ALL)
def test_views_are_the_pixels_of_their_boxes(boxes):
    views = Views(60 if boxes is whole_square else 40, 3, boxes, (60,))
    row = views.cut(image_of_places(300, 60))
    assert row.dtype == np.uint8
    assert row.shape == (views.num_bytes,)
    (unpacked,) = views.unpack(row[None])
    for view, (left, top, side) in zip(unpacked[0], boxes(300, 60, 40), strict=True):
        if side == len(view):  # GoogLeNet's squares are brought to the crop's size
            assert places(view) == (left, top, left + side, top + side)
        else:
            square = image_of_places(300, 60)[:, left : left + side]
            assert abs(view[..., 0].mean() - (square[..., 0]).mean()) < 1


def test_scales_are_unpacked_in_their_order():
    views = Views(8, 1, five_crops, (8, 12, 20))
    image = np.full((50, 30, 1), 7, np.uint8)
    image[25:] = 9
    parts = views.unpack(np.stack([views.cut(image)] * 3))
    assert [part.shape for part in parts] == [(3, 5, 8, 8, 1)] * 3
    top_left, bottom_left = parts[2][1, 0], parts[2][1, 2]
    assert top_left.mean() < 8 < bottom_left.mean()
    assert views.cost == 15


def test_the_central_view_is_the_centre_crop_of_files(encode):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (9, 12, 3)).repeat(40, 0).repeat(40, 1)
    file = encode(blocks.astype(np.uint8))
    centre = Cropper(64, 3, evaluate="center", resize=80)(file, None, "")
    image = blocks.astype(np.uint8)
    (views,) = Views(64, 3, five_crops, (80,)).unpack(
        Views(64, 3, five_crops, (80,)).cut(image)[None]
    )
    assert np.abs(views[0, 4].astype(int) - centre).max() <= 1
    assert np.abs(views[0, 0].astype(int) - centre).max() > 50


def test_any_number_of_channels_is_resized():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 5)).astype(np.uint8)
    five = Views(8, 5, None, (12,), aspect=(18, 12))
    one = dataclasses.replace(five, channels=1)
    (whole,) = five.unpack(five.cut(image)[None])
    for channel in range(5):
        (alone,) = one.unpack(one.cut(image[..., channel : channel + 1])[None])
        np.testing.assert_array_equal(whole[..., channel : channel + 1], alone)
    three = dataclasses.replace(five, channels=3)
    (colour,) = three.unpack(three.cut(image[..., :3])[None])
    np.testing.assert_array_equal(colour, whole[..., :3])


def test_a_thread_of_an_image_costs_one_example():
    with pytest.raises(UnreadableImageError, match="safety limit"):
        Views(64, 1, grid, (512,)).cut(np.zeros((1, 2000, 1), np.uint8))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_files_become_rows_of_views_in_workers_too(image_folder, num_workers):
    folder = image_folder()
    image_folder("test", per_class=2)
    (folder / "test" / "bee" / "1.jpg").write_bytes(b"no image")
    views = make_protocol("ten_crop", size=16, channels=3).views
    files = data.load("folder", "test", dir=str(folder), image_size=16, whole_images=True)
    dataset = with_views(files, views)
    assert dataset.image_shape == (16, 16, 3)
    (batch,) = pipeline.eval_batches(dataset, batch_size=8, num_workers=num_workers)
    assert batch["image"].shape == (8, 5 * 16 * 16 * 3)
    assert batch["weight"].tolist() == [1, 1, 1, 0, 1, 1, 0, 0]
    whole = Cropper(18, 3, evaluate="center", resize=18)
    cut = views.cut(whole((folder / "test" / "cow" / "0.jpg").read_bytes(), None, ""))
    assert np.abs(batch["image"][4].astype(int) - cut).max() <= 1


def test_data_in_memory_become_rows_of_views():
    views = make_protocol("multi_crop", size=8, channels=1).views
    digits = data.load("digits", "test", image_size=8, channels=1)
    dataset = with_views(digits, views)
    assert not dataset.in_memory
    image, label = dataset.read(5, None)
    np.testing.assert_array_equal(image, views.cut(digits.images[5]))
    assert label == digits.labels[5]
    assert set(PROTOCOLS) >= {"center", "flip"}
