"""Characters in the fonts that matplotlib ships, drawn at will: 36 classes, colour, no download.

Digits and capital letters without I and O, which look like 1 and 0, and the signs & and ?. Every
image has a character of random font, colours, size, position, rotation and shear, a piece of
another character at its border, and noise. It depends only on (split, index, image_size, channels)
and on the versions of Pillow and matplotlib.
"""

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.data.dataset import Dataset, random_bits, split_holdout
from jaxcnn.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

CHARACTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ&?"
FONTS = (
    *(f"DejaVuSans{form}" for form in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{form}" for form in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{form}" for form in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{form}" for form in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
LEAST_SIDE = 8  # pixels

_DRAWN = 64  # side of a character before it is scaled to the image
_HEIGHT = 0.7  # of a character at scale 1, as a share of the image's side
_CLUTTER = 1  # pieces of other characters
_NOISE = 15.0  # standard deviation of a channel, of 255
_UNIFORM = 24  # random numbers that an image's layout takes


def load_glyphs(
    split: str,
    *,
    image_size: int = 32,
    channels: int = 3,
    num_examples: int = 2048,
    holdout: int = 0,
) -> Dataset:
    """Returns `num_examples` characters, uint8 [image_size, image_size, channels].

    Example `i` has label `i % 36`. Those of training and test differ in everything drawn at random.

    Args:
      split: "train", "validation" (held out of training) or "test".
      image_size: side in pixels, 8 or more.
      channels: 3, or 1 for the luminance.
      num_examples: number of training examples and also of test examples.
      holdout: number of training examples for the validation split, stratified by class.

    Raises:
      UserError: if matplotlib is missing, a size is not possible, or the holdout does not fit.
    """
    if image_size < LEAST_SIDE:
        raise UserError(f"image_size={image_size}: glyphs need {LEAST_SIDE} pixels or more")
    if channels not in (1, 3):
        raise UserError(f"channels={channels}: glyphs have 3, or 1")
    if num_examples < len(CHARACTERS):
        raise UserError(f"num_examples={num_examples}: glyphs need {len(CHARACTERS)} or more")
    part = 1 if split == "test" else 0
    part_name = "test" if part else "train"  # a held-out image keeps its training name
    images = _draw_all(part, num_examples, image_size, channels)
    labels = np.arange(num_examples, dtype=np.int32) % len(CHARACTERS)
    dataset = Dataset(
        name="glyphs",
        split=split,
        num_examples=num_examples,
        num_classes=len(CHARACTERS),
        image_shape=(image_size, image_size, channels),
        class_names=tuple(CHARACTERS),
        describe=lambda index: f"glyphs {part_name} image {index}",
        images=images,
        labels=labels,
    )
    return dataset if split == "test" else split_holdout(dataset, split, holdout, labels=labels)


@functools.lru_cache(maxsize=4)  # the seeds of an ablation read the same images
def _draw_all(part: int, count: int, size: int, channels: int) -> np.ndarray:
    images = np.stack([_draw(part, index, size, channels) for index in range(count)])
    images.flags.writeable = False
    return images


def _draw(part: int, index: int, size: int, channels: int) -> np.ndarray:
    """Returns one image, uint8 [size, size, channels]."""
    bits = random_bits((part, 0), stream=6, index=index)
    layout = _uniform(bits.random_raw(_UNIFORM + 12 * _CLUTTER))
    back, ink, other = _colours(layout[:10])
    image = np.broadcast_to(back, (size, size, 3)).astype(np.float32)
    for number in range(_CLUTTER):
        one = layout[_UNIFORM + 12 * number :]
        angle, distance = 2 * np.pi * one[0], 0.5 + 0.2 * one[1]
        place = 0.5 + distance * np.array([np.cos(angle), np.sin(angle)])
        mask = _mask(_pick(one[2], CHARACTERS), _pick(one[3], FONTS), one[4:9], place, size)
        image += mask[..., None] * (other - image)
    place = 0.5 + 0.12 * (layout[10:12] - 0.5)
    mask = _mask(
        CHARACTERS[index % len(CHARACTERS)], _pick(layout[12], FONTS), layout[13:], place, size
    )
    image += mask[..., None] * (ink - image)
    image = np.clip(image + _noise(bits, (size, size, 3)), 0, 255)
    if channels == 1:
        image = (image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return np.rint(image).astype(np.uint8)


def _uniform(words: np.ndarray) -> np.ndarray:
    """Returns numbers in [0, 1), float64 [n], of random words, uint64 [n]."""
    return (words >> np.uint64(11)) * 2.0**-53


def _pick(share: float, things: "str | tuple[str, ...]") -> str:
    return things[int(share * len(things))]


def _colours(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the colours of background, character and clutter: dark, light and between."""
    return 100 * shares[:3], 255 - 100 * shares[3:6], 40 + 140 * shares[6:9]


def _mask(
    character: str, font: str, shares: np.ndarray, place: np.ndarray, size: int
) -> np.ndarray:
    """Returns a character's coverage of each pixel, float32 [size, size] in [0, 1].

    Args:
      character: what to draw.
      font: one of `FONTS`.
      shares: numbers in [0, 1), of which four are used: rotation, height, width, shear.
      place: centre of the character (x, y), in sides of the image.
      size: side in pixels.
    """
    from PIL import Image

    angle = np.deg2rad(30 * (shares[0] - 0.5))
    height = _HEIGHT * (0.8 + 0.4 * shares[1])
    width = height * (0.8 + 0.4 * shares[2])
    shear = 0.4 * (shares[3] - 0.5)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
    fine = 2 * size  # every pixel is the mean of four
    forward = turned @ np.diag([width, height]) * (fine / _DRAWN)
    back = np.linalg.inv(forward)
    start = _DRAWN / 2 - back @ (place * fine)
    matrix = (back[0, 0], back[0, 1], start[0], back[1, 0], back[1, 1], start[1])
    whole = _character(character, font).transform(
        (fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    parts = np.asarray(whole, np.float32).reshape(size, 2, size, 2)
    return parts.mean(axis=(1, 3)) / 255


@functools.cache
def _character(character: str, font: str) -> "Image":
    """Returns a character that fills a square in its longer direction, on a margin of 2 pixels."""
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(_folder() / f"{font}.ttf"), 2 * _DRAWN)
    left, top, right, bottom = face.getbbox(character)
    drawn = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(drawn).text((-left, -top), character, fill=255, font=face)
    inner = _DRAWN - 4
    factor = inner / max(drawn.size)
    side = [max(round(length * factor), 1) for length in drawn.size]
    small = drawn.resize((side[0], side[1]), Image.Resampling.BOX)
    square = Image.new("L", (_DRAWN, _DRAWN))
    square.paste(small, ((_DRAWN - side[0]) // 2, (_DRAWN - side[1]) // 2))
    return square


def _folder() -> Path:
    """Returns the folder of matplotlib's fonts.

    Raises:
      UserError: if matplotlib is missing.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise UserError("data.kind=glyphs draws with matplotlib's fonts: pip install matplotlib")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


def _noise(bits: np.random.Philox, shape: tuple[int, ...]) -> np.ndarray:
    """Returns noise that is nearly normal, float32: sums of four random bytes."""
    count = int(np.prod(shape))
    raw = bits.random_raw(-(-count // 2)).astype("<u8").view(np.uint8)[: 4 * count]
    sums = raw.reshape(count, 4).sum(axis=1, dtype=np.int64)
    return ((sums - 510) * (_NOISE / 147.8)).astype(np.float32).reshape(shape)
