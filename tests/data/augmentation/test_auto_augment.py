"""The operations against Pillow's, and how often and how strongly they are drawn."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageFilter
import PIL.ImageOps
import pytest

from jaxcnn.data.augmentation import auto_augment
from jaxcnn.data.augmentation.augment import AugmentConfig, augment
from jaxcnn.data.augmentation.auto_augment import AUTOAUGMENT, OPERATIONS, WARPS, WIDE

RNG = np.random.default_rng(0)
# Smooth, so that no channel is uniform, and with a margin, so that autocontrast has work to do.
PIXELS = np.asarray(
    PIL.Image.fromarray(RNG.integers(40, 200, (5, 6, 3), dtype=np.uint8)).resize((24, 20))
)
IMAGE = PIXELS.astype(np.float32) / 255
ENHANCERS = {
    "brightness": PIL.ImageEnhance.Brightness,
    "color": PIL.ImageEnhance.Color,
    "contrast": PIL.ImageEnhance.Contrast,
    "sharpness": PIL.ImageEnhance.Sharpness,
}


@jax.jit
def wide(image, chosen, level, sign):
    return auto_augment.operate(image, chosen, level, sign, WIDE)


@jax.jit
def narrow(image, chosen, level, sign):
    return auto_augment.operate(image, chosen, level, sign, AUTOAUGMENT)


def bytes_of(image):
    return np.asarray(jnp.round(image * 255), int)


def by_pillow(name, level, sign, enhance, bits):
    image = PIL.Image.fromarray(PIXELS)
    if name in ENHANCERS:
        return ENHANCERS[name](image).enhance(1 + sign * enhance * level)
    if name == "posterize":
        return PIL.ImageOps.posterize(image, 8 - round(bits * level))
    if name == "solarize":
        return PIL.ImageOps.solarize(image, round(256 * (1 - level)))
    return {"autocontrast": PIL.ImageOps.autocontrast, "equalize": PIL.ImageOps.equalize}[name](
        image
    )


@pytest.mark.parametrize("name", auto_augment.COLOURS)
@pytest.mark.parametrize(("level", "sign"), [(0.25, 1.0), (0.5, -1.0), (1.0, 1.0), (1.0, -1.0)])
def test_colours_change_as_in_pillow(name, level, sign):
    chosen = OPERATIONS.index(name)
    for operate, ranges in ((narrow, AUTOAUGMENT), (wide, WIDE)):
        expected = np.asarray(by_pillow(name, level, sign, ranges.enhance, ranges.bits), int)
        found = bytes_of(operate(IMAGE, chosen, level, sign))
        tolerance = 0 if name in ("posterize", "solarize", "equalize") else 2  # Pillow's roundings
        assert np.abs(found - expected).max() <= tolerance
        assert name == "brightness" or np.any(found != PIXELS)


@pytest.mark.parametrize("name", ["identity", *WARPS])
def test_warps_at_level_zero_change_nothing(name):
    found = wide(IMAGE, OPERATIONS.index(name), 0.0, 1.0)
    np.testing.assert_array_equal(found, IMAGE)


def test_a_translation_moves_whole_pixels_and_fills_with_grey():
    for name, axis in (("translate_x", 1), ("translate_y", 0)):
        found = np.asarray(wide(IMAGE, OPERATIONS.index(name), 4 / 32, -1.0))
        moved = np.moveaxis(found, axis, 0)
        np.testing.assert_array_equal(moved[4:], np.moveaxis(IMAGE, axis, 0)[:-4])
        assert np.all(moved[:4] == 0.5)


def test_a_quarter_turn_and_a_shear_about_the_middle():
    square = jnp.asarray(IMAGE[:, :20])
    found = wide(square, OPERATIONS.index("rotate"), 90 / 135, 1.0)
    assert any(np.array_equal(found, np.rot90(square, k)) for k in (1, 3))
    found = np.asarray(wide(IMAGE, OPERATIONS.index("shear_x"), 0.5 / 0.99, 1.0))
    for row in range(20):  # half a pixel across for each one down
        shift = int(np.round(0.5 * (row - 9.5) + 1e-4))
        inside = slice(max(-shift, 0), 24 - max(shift, 0))
        source = slice(max(shift, 0), 24 + min(shift, 0))
        np.testing.assert_array_equal(found[row, inside], IMAGE[row, source])


@pytest.mark.slow
def test_every_operation_is_drawn_equally_often(monkeypatch):
    count, drawn = 4200, []

    def record(image, chosen, level, sign, ranges):
        drawn.append((chosen, level, sign, ranges))
        return image

    monkeypatch.setattr(auto_augment, "operate", record)
    keys = jax.random.split(jax.random.key(3), count)

    def of(policy):
        drawn.clear()

        def one(key):
            drawn.clear()
            policy(jnp.zeros((4, 4, 3)), key)
            return [jnp.stack([jnp.asarray(x, jnp.float32) for x in d[:3]]) for d in drawn]

        return [np.asarray(d) for d in jax.vmap(one)(keys)], drawn[0][3]

    first, ranges = of(lambda image, key: auto_augment.randaugment(image, key, 2, 9.0))
    assert ranges is AUTOAUGMENT
    assert len(first) == 2
    assert np.abs(np.corrcoef(first[0][:, 0], first[1][:, 0])[0, 1]) < 0.05
    assert np.allclose(first[0][:, 1], 0.9)
    second, ranges = of(auto_augment.trivialaugment)
    assert ranges is WIDE
    assert len(second) == 1
    levels, counts = np.unique(np.round(second[0][:, 1] * 30), return_counts=True)
    assert levels.tolist() == list(range(31))
    assert sum((counts - count / 31) ** 2 / (count / 31)) < 60  # 30 degrees of freedom
    for draws in (*first, *second):
        counts = np.bincount(draws[:, 0].astype(int), minlength=14)
        assert len(counts) == 14
        assert sum((counts - 300) ** 2 / 300) < 35  # 13 degrees of freedom: one in a thousand
        assert abs(draws[:, 2].mean()) < 0.05
        assert set(draws[:, 2]) == {-1.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("policy", auto_augment.AUTO_AUGMENTS.values())
@pytest.mark.parametrize("channels", [1, 3])
def test_policies_stay_within_the_pixels(policy, channels):
    images = jnp.broadcast_to(IMAGE[None, ..., :channels], (64, 20, 24, channels))
    keys = jax.random.split(jax.random.key(0), 64)
    found = np.asarray(jax.jit(jax.vmap(lambda i, k: policy(i, k, 2, 9.0)))(images, keys))
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.mean([np.any(image != IMAGE[..., :channels]) for image in found]) > 0.5


@pytest.mark.slow
def test_hue_turns_as_in_hsv():
    found = np.asarray(auto_augment._turn_hue(IMAGE, 0.15))
    for row, column in ((0, 0), (7, 3), (19, 23), (11, 12)):
        h, s, v = colorsys.rgb_to_hsv(*IMAGE[row, column])
        expected = colorsys.hsv_to_rgb((h + 0.15) % 1, s, v)
        np.testing.assert_allclose(found[row, column], expected, atol=1e-6)
    grey = jnp.full((2, 2, 3), 0.3)
    np.testing.assert_allclose(auto_augment._turn_hue(grey, 0.4), grey)


@pytest.mark.slow
def test_photometric_distortion_has_the_amounts_and_an_order_that_varies():
    keys = jax.random.split(jax.random.key(1), 3000)
    grey = jnp.full((2, 2, 3), 0.5)
    distort = jax.jit(jax.vmap(auto_augment.photometric_distortion, in_axes=(None, 0, None)))
    # A uniform grey has no contrast, saturation and hue: what is left is the brightness.
    shift = np.asarray(distort(grey, keys, 1.0))[:, 0, 0, 0] - 0.5
    assert np.abs(shift).max() < 32 / 255 + 1e-6
    assert abs(shift.std() - 32 / 255 / np.sqrt(3)) < 0.003
    assert abs(shift.mean()) < 0.005
    half = np.asarray(distort(grey, keys, 0.5))[:, 0, 0, 0] - 0.5
    np.testing.assert_allclose(half, shift / 2, atol=1e-6)

    def by_order(key):
        order = jax.random.permutation(jax.random.split(key)[0], 4)
        return sum(order[i] * 4**i for i in range(4))

    assert len(np.unique(jax.vmap(by_order)(keys))) == 24
    image = jnp.asarray(IMAGE)
    found = np.asarray(distort(image, keys[:200], 1.0))
    assert found.min() >= 0
    assert found.max() <= 1
    saturation = [x.max(-1) - x.min(-1) for x in found]
    assert np.std([s.mean() for s in saturation]) > 0.02


@pytest.mark.parametrize("fields", [{"auto_augment": "randaugment"}, {"photometric": 1.0}])
def test_on_a_cpu_a_row_takes_one_branch(fields):
    """Under `vmap` a switch becomes selects: all branches computed, for all rows."""
    images = jnp.zeros((4, 8, 8, 3), jnp.uint8)
    keys = jax.random.split(jax.random.key(0), 4)
    config = AugmentConfig(**fields)
    program = jax.jit(lambda images, keys: augment(images, keys, config, mean=(0.5,), std=(1.0,)))
    assert "stablehlo.case" in program.lower(images, keys).as_text()
