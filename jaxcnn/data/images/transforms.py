"""Converts an encoded image to a uint8 array of fixed size: decodes, crops, resizes on the host.

Every crop is a box in the coordinates of the upright image, resampled once to the target size
(Pillow, antialiased when shrinking). `decode` defines which formats are read.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.fields import EVAL_CROPS, INTERPOLATIONS, TRAIN_CROPS
from jaxcnn.data.images.decode import convert, decode, open_image, orientation, reason, upright
from jaxcnn.data.source import Source
from jaxcnn.errors import UserError, nearest

if TYPE_CHECKING:
    from PIL.Image import Image

RANDOM_CROPS = ("random_resized", "scale_jitter")
AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
TRIES = 10

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclasses.dataclass(frozen=True)
class Cropper:
    """Converts an encoded image of any size to uint8 [size, size, channels].

    Attributes:
      size: side of the result in pixels.
      channels: 1 or 3.
      train: crop used when there is a random generator.
        "resize": the whole image, whatever its aspect ratio.
        "random_resized": as in GoogLeNet: 8–100 % of the area, aspect ratio 3/4–4/3.
        "scale_jitter": as in VGG: short side drawn from `scale_range`, then a random square.
        "frame": the image centred on black, as LeNet-5 does with MNIST digits.
        "none": the image already has the right size.
      evaluate: crop used without a generator; "center" resizes the short side to `resize` and takes
        the central square.
      resize: short side in pixels for "center"; 0 is size × 256/224.
      scale_range: smallest and largest short side for "scale_jitter", inclusive.
      interpolation: "bilinear" or "bicubic".

    Raises:
      UserError: if the crop or interpolation is unknown, channels is not 1 or 3, or the square is
        larger than the side that it is cut from.
    """

    size: int
    channels: int = 3
    train: str = "resize"
    evaluate: str = "resize"
    resize: int = 0
    scale_range: tuple[int, int] = (256, 480)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for field, value, known in [
            ("train_crop", self.train, TRAIN_CROPS),
            ("eval_crop", self.evaluate, EVAL_CROPS),
            ("interpolation", self.interpolation, INTERPOLATIONS),
        ]:
            if value not in known:
                raise UserError(f"{field}={value!r} does not exist: {nearest(value, known)}")
        if self.channels not in (1, 3):
            raise UserError(f"channels={self.channels}: image files give 1 (grey) or 3 (RGB)")
        if self.evaluate == "center" and self.resize and self.resize < self.size:
            raise UserError(
                f"resize={self.resize} is smaller than the crop: image_size={self.size}"
            )
        low, high = self.scale_range
        if self.train == "scale_jitter" and not self.size <= low <= high:
            raise UserError(
                f"scale_range=({low}, {high}) must increase and start at"
                f" image_size={self.size} or more"
            )

    def __call__(self, data: bytes, rng: np.random.Generator | None, name: str) -> np.ndarray:
        """Decodes one image.

        Args:
          data: the encoded file.
          rng: draws the training crop; None takes the evaluation crop.
          name: name of the file, for messages.

        Raises:
          UnreadableImageError: if not an image, truncated, or above Pillow's safety limit.
          UserError: if the crop is "none" and the image has another size.
        """
        return self.crop(open_image(data), rng, name)

    def crop(self, image: "Image", rng: np.random.Generator | None, name: str) -> np.ndarray:
        """Decodes and crops an image that Pillow has opened; see `__call__`."""
        # Random crops may read a JPEG at 1/2, 1/4 or 1/8 of its size; evaluation stays exact.
        try:
            turn = orientation(image)
            box = self.box(image.size if turn < 5 else image.size[::-1], rng)
            if rng is not None:
                box = _shrink_on_load(image, box, self.size, turn)
            image = upright(convert(image, self.channels), turn)
        except Exception as error:
            raise UnreadableImageError(reason(error)) from error
        if self._kind(rng) == "none" and image.size != (self.size, self.size):
            raise UserError(
                f"{name} is {image.width}x{image.height}, not {self.size}x{self.size}: set"
                " image_size to its size, or a crop other than 'none'"
            )
        if self._kind(rng) == "frame":
            return self._framed(np.asarray(image), name)
        if image.size != (self.size, self.size) or box != (0, 0, self.size, self.size):
            from PIL.Image import Resampling

            how = Resampling[self.interpolation.upper()]
            image = image.resize((self.size, self.size), how, box=box)
        return np.asarray(image).reshape(self.size, self.size, self.channels)

    def _framed(self, pixels: np.ndarray, name: str) -> np.ndarray:
        height, width = pixels.shape[:2]
        if max(height, width) > self.size:
            raise UserError(
                f"{name} is {width}x{height} and does not fit a frame of {self.size}x{self.size}:"
                " raise image_size, or set a crop other than 'frame'"
            )
        framed = np.zeros((self.size, self.size, self.channels), np.uint8)
        top, left = (self.size - height) // 2, (self.size - width) // 2
        framed[top : top + height, left : left + width] = pixels.reshape(height, width, -1)
        return framed

    def _kind(self, rng: np.random.Generator | None) -> str:
        return self.evaluate if rng is None else self.train

    def box(self, image_size: tuple[int, int], rng: np.random.Generator | None) -> Box:
        """Returns the box to keep of an image of (width, height) pixels."""
        kind = self._kind(rng)
        if kind == "center":
            return _square(image_size, self.resize or round(self.size * 256 / 224), self.size)
        if rng is not None and kind == "random_resized":
            return _random_resized(image_size, self.size, rng)
        if rng is not None and kind == "scale_jitter":
            low, high = self.scale_range
            short = low + int(rng.random() * (high - low + 1))
            return _square(image_size, short, self.size, rng.random(), rng.random())
        return (0, 0, *image_size)


def _square(
    image_size: tuple[int, int], short: int, size: int, across: float = 0.5, down: float = 0.5
) -> Box:
    """Returns the box of a size² crop from an image whose short side is resized to `short`.

    `across` and `down` in [0, 1) set the position; 0.5 is the centre.
    """
    width, height = image_size
    if width <= height:
        new_width, new_height = short, int(short * height / width)
    else:
        new_width, new_height = int(short * width / height), short
    if across == 0.5 and down == 0.5:
        left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    else:
        left = int(across * (new_width - size + 1))
        top = int(down * (new_height - size + 1))
    x, y = width / new_width, height / new_height
    # min, because rounding may put the product beyond the edge, which Pillow refuses.
    return left * x, top * y, min((left + size) * x, width), min((top + size) * y, height)


def _random_resized(image_size: tuple[int, int], size: int, rng: np.random.Generator) -> Box:
    """Draws up to ten boxes of random area and aspect ratio; falls back to the central square."""
    width, height = image_size
    for _ in range(TRIES):
        area, aspect, swap, across, down = rng.random(5)
        area = width * height * (AREA_RANGE[0] + area * (AREA_RANGE[1] - AREA_RANGE[0]))
        aspect = ASPECT_RANGE[0] + aspect * (ASPECT_RANGE[1] - ASPECT_RANGE[0])
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if swap < 0.5:
            w, h = h, w
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    return _square(image_size, size, size)


@dataclasses.dataclass(frozen=True)
class WholeImage:
    """Converts an encoded image to uint8 [H, W, channels] of its own size, for `views`.

    Attributes:
      size: side of the network's images.
      channels: 1 or 3.
    """

    size: int
    channels: int = 3

    def __call__(self, data: bytes, rng: np.random.Generator | None, name: str) -> np.ndarray:
        """Decodes one image like `Cropper`, deterministically.

        Raises:
          UnreadableImageError: if not an image, truncated, or above Pillow's safety limit.
        """
        del rng, name
        pixels = np.asarray(decode(data, self.channels))
        return pixels.reshape(*pixels.shape[:2], self.channels)


def source(
    cropper: Cropper | WholeImage, split: str, kind: str, files: Callable[[], dict[str, str]]
) -> Source | None:
    """Returns what the images of a split are made of, or None if they differ between epochs.

    Training images are cropped by `Cropper.train`, all others by `Cropper.evaluate`. Training reads
    some images without a generator, for example to measure statistics, and then by the latter; the
    two must be equal.

    Args:
      cropper: decodes the images.
      split: name of the split.
      kind: kind of the data set and the parts of it.
      files: see `Source`.
    """
    if isinstance(cropper, WholeImage):
        return None
    if split == "train" and (cropper.train != cropper.evaluate or cropper.train in RANDOM_CROPS):
        return None
    kept = cropper if split == "train" else dataclasses.replace(cropper, train="resize")
    return Source(files, f"{kind}, {'training' if split == 'train' else 'evaluation'}, {kept}")


def _shrink_on_load(image: "Image", box: Box, size: int, turn: int) -> Box:
    """Makes the JPEG decoder reduce an image that the crop will shrink; returns the scaled box.

    It keeps at least twice the target size, so the antialiased resize still decides the result.

    Args:
      image: image as stored, before it is decoded.
      box: box in the upright image.
      size: side of the target in pixels.
      turn: result of `decode.orientation`.
    """
    if image.format != "JPEG":
        return box
    width, height = image.size
    need = 2 * size / min(box[2] - box[0], box[3] - box[1])
    if need > 0.5:
        return box
    reduced = image.draft(None, (int(np.ceil(width * need)), int(np.ceil(height * need))))
    if reduced is None:
        return box
    # Use the exact size: the image's own is rounded up, which would shift the box.
    scale = reduced[1][2] / width
    left, top, right, bottom = (edge * scale for edge in box)
    # In a rotated image the partial pixel at the right and bottom comes first.
    rest = image.width - width * scale, image.height - height * scale
    across, down = rest if turn < 5 else rest[::-1]
    across, down = across * (turn in (2, 3, 6, 7)), down * (turn in (3, 4, 7, 8))
    return left + across, top + down, right + across, bottom + down
