"""Augmentation against NumPy, and its randomness against what is promised."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.data.augmentation.augment import (
    GREY,
    PCA_COMPONENTS,
    PCA_SCALE,
    AugmentConfig,
    augment,
    example_keys,
    normalize,
)
from jaxcnn.errors import UserError

PLAIN = {"mean": (0.0,), "std": (1.0,)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVERYTHING = {
    "mean": MEAN,
    "std": STD,
    "flip": True,
    "pad": 2,
    "color_jitter": 0.4,
    "lighting": 0.1,
    "translate": 0.3,
    "random_erasing": 0.5,
}


def augmented(images, keys, *, mean, std, **fields):
    return augment(images, keys, AugmentConfig(**fields), mean=mean, std=std)


def keys(count, epoch=0, repeat=0, start=0):
    index = jnp.arange(start, start + count)
    return example_keys(jax.random.key(5), jnp.full(count, epoch), index, repeat)


def images(count=16, height=8, width=8, channels=3, seed=0):
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.5,), (0.25,))])
def test_normalize_is_the_formula(mean, std):
    pixels = images()
    expected = (pixels / 255 - np.array(mean)) / np.array(std)
    for found in (
        normalize(pixels, mean=mean, std=std),
        augmented(pixels, keys(16), mean=mean, std=std),
    ):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.slow
def test_keys_are_the_folds_that_are_documented_and_all_differ():
    key = jax.random.key(5)
    found = example_keys(key, jnp.array([3, 4]), jnp.array([7, -1]), 2)
    fold_in = jax.random.fold_in
    assert found[0] == fold_in(fold_in(fold_in(key, 3), 7), 2)
    every = [
        jax.random.key_data(keys(50, epoch, repeat))
        for epoch, repeat in itertools.product(range(3), (0, 1))
    ]
    assert len(np.unique(np.concatenate(every), axis=0)) == 300


@pytest.mark.slow
def test_an_example_is_changed_the_same_wherever_it_stands_in_the_batch():
    pixels, run = images(), jax.jit(lambda x, k: augmented(x, k, **EVERYTHING))
    whole = np.asarray(run(pixels, keys(16)))
    order = np.random.default_rng(1).permutation(16)
    np.testing.assert_array_equal(run(pixels[order], keys(16)[order]), whole[order])
    halves = [run(pixels[part], keys(16)[part]) for part in (slice(0, 8), slice(8, 16))]
    np.testing.assert_allclose(np.concatenate(halves), whole, atol=1e-6)
    assert not np.allclose(whole, run(pixels, keys(16, epoch=1)))
    assert not np.allclose(whole, run(pixels, keys(16, repeat=1)))


@pytest.mark.slow
def test_replicas_change_their_part_as_one_device_changes_the_whole():
    pixels, k = images(), keys(16)
    apply = jax.pmap(lambda x, k: augmented(x, k, **EVERYTHING))
    parts = apply(pixels.reshape(4, 4, 8, 8, 3), k.reshape(4, 4))
    whole = jax.jit(lambda x, k: augmented(x, k, **EVERYTHING))(pixels, k)
    np.testing.assert_allclose(np.asarray(parts).reshape(whole.shape), whole, atol=1e-6)


@pytest.mark.slow
def test_half_of_the_images_are_flipped():
    pixels = np.repeat(images(1), 4000, axis=0)
    found = np.asarray(augmented(pixels, keys(4000), flip=True, **PLAIN))
    plain = np.asarray(normalize(pixels[:1], **PLAIN))[0]
    flipped = (found == plain[:, ::-1]).all((1, 2, 3))
    assert np.array_equal(~flipped, (found == plain).all((1, 2, 3)))
    assert abs(flipped.mean() - 0.5) < 0.03


def test_half_of_the_images_are_turned_upside_down_whether_mirrored_or_not():
    pixels = np.repeat(images(1), 4000, axis=0)
    options = {"flip": True, "vertical_flip": True}
    found = np.asarray(augmented(pixels, keys(4000), **options, **PLAIN))
    plain = np.asarray(normalize(pixels[:1], **PLAIN))[0]
    views = (plain, plain[:, ::-1], plain[::-1], plain[::-1, ::-1])
    shares = np.array([(found == view).all((1, 2, 3)).mean() for view in views])
    assert shares.sum() == 1
    assert np.abs(shares - 0.25).max() < 0.025


@pytest.mark.slow
def test_a_translation_is_by_any_whole_number_of_pixels_up_to_the_share():
    count = 5000
    pixels = np.repeat(images(1, height=8, width=12), count, axis=0)
    found = np.asarray(augmented(pixels, keys(count), translate=0.25, mean=MEAN, std=STD))
    plain = np.asarray(normalize(pixels[:1], mean=MEAN, std=STD))[0]
    around = np.pad(plain, ((2, 2), (3, 3), (0, 0)))
    counts = [
        np.isclose(found, around[top : top + 8, left : left + 12], atol=1e-6).all((1, 2, 3)).sum()
        for top, left in itertools.product(range(5), range(7))
    ]
    assert sum(counts) == count
    assert sum((n - count / 35) ** 2 / (count / 35) for n in counts) < 66  # 34 degrees of freedom


@pytest.mark.slow
@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_erased_parts_are_boxes_of_the_published_sizes(fill):
    count, side = 3000, 32
    pixels = np.full((count, side, side, 3), 200, np.uint8)
    options = {
        "random_erasing": 0.5,
        "random_erasing_area": (0.02, 0.4),
        "random_erasing_fill": fill,
    }
    found = np.asarray(augmented(pixels, keys(count), **options, mean=(0.5,), std=(0.5,)))
    gone = ~np.isclose(found[..., 0], 200 / 255 * 2 - 1)
    erased = gone.any((1, 2))
    assert abs(erased.mean() - 0.5) < 0.03
    heights, widths = (gone.any(axis).sum(1)[erased] for axis in (2, 1))
    area = gone.sum((1, 2))[erased]
    if fill == "mean":
        assert not found[gone].any()
        assert np.array_equal(area, heights * widths)  # whole boxes
    else:
        assert abs(found[gone].mean()) < 0.01
        assert abs(found[gone].std() - 1) < 0.01
    # A box of random aspect is redrawn if it does not fit, which the largest do not always.
    assert 0.015 < area.min() / side**2 < 0.03
    assert 0.35 < area.max() / side**2 < 0.42
    small = area / side**2 < 0.2
    assert abs((area[small] / side**2).mean() - 0.11) < 0.006
    aspect = np.log(heights / widths)[small & (area > 60)]
    assert np.abs(aspect).max() < math.log(1 / 0.3) + 0.25
    assert abs(aspect.mean()) < 0.05
    assert abs(aspect.std() - math.log(1 / 0.3) / math.sqrt(3)) < 0.05
    corners = np.argwhere(gone.any(1))[:, 1], np.argwhere(gone.any(2))[:, 1]
    assert all(abs(c.mean() - (side - 1) / 2) < 0.7 for c in corners)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_every_padded_crop_is_drawn_equally_often(mode):
    pad, count = 2, 5000
    pixels = np.repeat(images(1), count, axis=0)
    found = np.asarray(augmented(pixels, keys(count), pad=pad, pad_mode=mode, mean=MEAN, std=STD))
    plain = np.asarray(normalize(pixels[:1], mean=MEAN, std=STD))[0]
    # Zeros around the normalised image: black pixels would not be zero.
    around = np.pad(plain, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    counts = [
        np.isclose(found, around[top : top + 8, left : left + 8], atol=1e-6).all((1, 2, 3)).sum()
        for top, left in itertools.product(range(2 * pad + 1), repeat=2)
    ]
    assert sum(counts) == count
    chi_squared = sum((n - count / 25) ** 2 / (count / 25) for n in counts)
    assert chi_squared < 52  # 24 degrees of freedom: one in a thousand


def blends(image, order, weights):
    """fb.resnet's brightness (0), contrast (1) and saturation (2), one after the other."""
    for change in order:
        grey = image @ np.array(GREY)
        other = [0, grey.mean(), grey[..., None]][change]
        image = weights[change] * image + (1 - weights[change]) * other
    return image


@pytest.mark.slow
def test_colour_jitter_is_three_blends_in_any_order_with_weights_in_the_range():
    count, amount = 400, 0.4
    pixels = np.repeat(images(1, seed=3), count, axis=0)
    found = np.asarray(augmented(pixels, keys(count), color_jitter=amount, **PLAIN), np.float64)
    start = pixels[0] / 255
    weights = []
    for image in found:
        # Brightness alone moves the mean grey, contrast also spreads the greys, saturation
        # also the colours: the three weights can be read off the result.
        ratios = []
        for of in (lambda x: x.mean(), np.std):
            ratios.append(of(image @ np.array(GREY)) / of(start @ np.array(GREY)))
        colour = [(x - (x @ np.array(GREY))[..., None]).std() for x in (image, start)]
        ratios.append(colour[0] / colour[1])
        weights.append([ratios[0], ratios[1] / ratios[0], ratios[2] / ratios[1]])
        for order in itertools.permutations(range(3)):
            np.testing.assert_allclose(blends(start, order, weights[-1]), image, atol=1e-4)
    weights = np.array(weights)
    assert weights.min() > 1 - amount - 1e-3
    assert weights.max() < 1 + amount + 1e-3
    assert np.abs(weights.mean(0) - 1).max() < 4 * amount / math.sqrt(3 * count)
    assert np.abs(weights.std(0) - amount / math.sqrt(3)).max() < 0.03
    assert np.abs(np.corrcoef(weights.T) - np.eye(3)).max() < 0.2


@pytest.mark.slow
def test_lighting_shifts_whole_images_with_the_published_covariance():
    count = 20000
    pixels = np.full((count, 2, 2, 3), 100, np.uint8)
    found = (
        np.asarray(augmented(pixels, keys(count), lighting=0.1, **PLAIN), np.float64) - 100 / 255
    )
    assert np.ptp(found, axis=(1, 2)).max() < 1e-6  # one shift for all pixels of an image
    shift = found[:, 0, 0]
    components = np.array(PCA_COMPONENTS)
    expected = components @ np.diag((0.1 * np.array(PCA_SCALE)) ** 2) @ components.T
    np.testing.assert_allclose(np.cov(shift.T), expected, atol=0.03 * expected.max())
    assert np.abs(shift.mean(0)).max() < 1e-3
    assert PCA_SCALE == (0.2175, 0.0188, 0.0045)
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=2e-3)
    # The second component has a hundredth of the first one's variance: look along it.
    along = shift @ components
    np.testing.assert_allclose(along.std(0), 0.1 * np.array(PCA_SCALE), rtol=0.06)


@pytest.mark.slow
def test_one_change_does_not_move_the_draws_of_another():
    pixels = np.repeat(images(1), 64, axis=0)
    alone = np.asarray(augmented(pixels, keys(64), flip=True, **PLAIN))
    plain = np.asarray(normalize(pixels[:1], **PLAIN))[0]
    flipped = (alone == plain[:, ::-1]).all((1, 2, 3))
    colour = np.asarray(augmented(pixels, keys(64), lighting=0.1, **PLAIN))
    both = np.asarray(augmented(pixels, keys(64), flip=True, lighting=0.1, **PLAIN))
    expected = np.where(flipped[:, None, None, None], colour[:, :, ::-1], colour)
    np.testing.assert_allclose(both, expected, atol=1e-6)


@pytest.mark.slow
def test_one_channel_can_be_flipped_and_shifted():
    found = augmented(images(channels=1), keys(16), flip=True, pad=2, mean=(0.5,), std=(0.5,))
    assert found.shape == (16, 8, 8, 1)


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (1, {"color_jitter": 0.4}, "color_jitter needs RGB images and these have 1"),
        (1, {"lighting": 0.1}, "lighting needs RGB images and these have 1"),
        (3, {"mean": (0.1, 0.2)}, "mean has 2 numbers for images of 3"),
        (1, {"std": STD}, "std has 3 numbers for images of 1"),
        (3, {"pad": 8, "pad_mode": "reflect"}, "pad=8 must be smaller than the 8x8"),
        (3, {"pad": 1, "pad_mode": "edge"}, "pad_mode='edge' is not possible"),
        (3, {"pad": -1}, "pad=-1 is not a whole number from 0"),
        (1, {"photometric": 1.0}, "photometric needs RGB images and these have 1"),
        (3, {"translate": 1.5}, "translate=1.5 is not a number from 0 to 1"),
        (3, {"random_erasing": 2.0}, "random_erasing=2.0 is not a number from 0 to 1"),
        (3, {"random_erasing_area": (0.5, 0.2)}, r"random_erasing_area=\(0.5, 0.2\) must increase"),
        (3, {"random_erasing_fill": "black"}, "random_erasing_fill='black' is not possible"),
        (
            3,
            {"auto_augment": "randaugmnt"},
            "auto_augment='randaugmnt' is not possible: did you mean randaug",
        ),
        (
            3,
            {"auto_augment_operations": 0},
            "auto_augment_operations=0 is not a whole number from 1",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(channels, options, message):
    with pytest.raises(UserError, match=message):
        augmented(images(channels=channels), keys(16), **(PLAIN | options))
