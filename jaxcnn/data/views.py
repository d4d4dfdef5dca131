"""Cuts out the views of test-time protocols on the host: squares or whole images.

A scale is the length in pixels to which the short side is resized (Pillow, bilinear, antialiased
when shrinking; the aspect ratio is kept). Boxes are coordinates at that scale. All views of an
example are stored in one row of bytes, so a batch is one array for any sizes.

Whole images would need one compiled program per aspect ratio. Therefore the long side is rounded to
1/12 of the short side, a change of at most 4 %: 4:3 and 3:2 are unchanged. It is limited to four
times the short side. Images of the same aspect ratio form batches.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.dataset import Dataset, Example, UnreadableImageError
from jaxcnn.data.prefetch import prefetch
from jaxcnn.data.worker import note


class Box(NamedTuple):
    """A square: left and top pixel in the image at its scale, and side."""

    left: int
    top: int
    side: int


TWELFTHS, LONGEST = 12, 48  # of the short side

Aspect = tuple[int, int]
"""Width and height, in 1/12 of the short side."""

SQUARE: Aspect = (TWELFTHS, TWELFTHS)

Boxes = Callable[[int, int, int], list[Box]]
"""(width and height of the image at its scale, side of the network's images) → boxes.

The number of boxes is constant."""


def resized(size: tuple[int, int], short: int) -> tuple[int, int]:
    """Returns (width, height) of an image whose short side is resized to `short`."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def centre(width: int, height: int, side: int) -> Box:
    """Returns the central square with a given side."""
    return Box(round((width - side) / 2), round((height - side) / 2), side)


def whole_square(width: int, height: int, size: int) -> list[Box]:
    """Returns the central square with the whole short side."""
    del size
    return [centre(width, height, min(width, height))]


def corners_and_centre(square: Box, size: int) -> list[Box]:
    """Returns five boxes of `size`: top left, top right, bottom left, bottom right, centre."""
    left, top, side = square
    far = side - size
    middle = centre(side, side, size)
    places = [(0, 0), (far, 0), (0, far), (far, far), middle[:2]]
    return [Box(left + x, top + y, size) for x, y in places]


def five_crops(width: int, height: int, size: int) -> list[Box]:
    """Returns corners and centre of the central square (AlexNet, §4.1: of its 256x256)."""
    return corners_and_centre(whole_square(width, height, size)[0], size)


def grid(width: int, height: int, size: int) -> list[Box]:
    """Returns 5x5 evenly spaced boxes over the whole image (VGG, §3.2)."""
    across, down = (
        [round(i * (length - size) / 4) for i in range(5)] for length in (width, height)
    )
    return [Box(x, y, size) for y in down for x in across]


def squares_crops(width: int, height: int, size: int) -> list[Box]:
    """Returns six boxes of each of three squares: left, middle, right or top, middle, bottom.

    The six boxes are corners, centre, and the square itself (GoogLeNet, §7).
    """
    short = min(width, height)
    middle = whole_square(width, height, size)[0]
    squares = [Box(0, 0, short), middle, Box(width - short, height - short, short)]
    return [box for square in squares for box in (*corners_and_centre(square, size), square)]


@dataclasses.dataclass(frozen=True)
class Views:
    """Converts an image of any size to the bytes of all its views.

    Attributes:
      size: side of the network's images.
      channels: number of channels.
      boxes: boxes to cut out at every scale, resized to `size`. None keeps the whole image.
      scales: short sides, in pixels.
      aspect: aspect ratio of whole images.
    """

    size: int
    channels: int
    boxes: Boxes | None
    scales: tuple[int, ...]
    aspect: Aspect = SQUARE

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Number, height and width of the views at each scale."""
        if self.boxes is None:
            across, down = self.aspect
            return [
                (1, round(scale * down / TWELFTHS), round(scale * across / TWELFTHS))
                for scale in self.scales
            ]
        return [
            (len(self.boxes(scale, scale, self.size)), self.size, self.size)
            for scale in self.scales
        ]

    @property
    def num_bytes(self) -> int:
        """Length of an example's row of bytes."""
        return sum(map(math.prod, self.shapes)) * self.channels

    @property
    def cost(self) -> float:
        """Number of pixels of an example, in units of one network input."""
        return self.num_bytes / (self.size * self.size * self.channels)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Returns the views of an image, scale by scale in the order of the boxes.

        Args:
          image: uint8 [H, W, channels].

        Returns:
          uint8 [num_bytes].

        Raises:
          UnreadableImageError: if the image is so narrow that it would be huge at its scale.
        """
        if self.boxes is None:
            whole = [_resize(image, width, height) for _, height, width in self.shapes]
            return np.concatenate([view.reshape(-1) for view in whole])
        height, width = image.shape[:2]
        views = []
        for scale in self.scales:
            across, down = resized((width, height), scale)
            scaled = _resize(image, across, down)
            for left, top, length in self.boxes(across, down, self.size):
                view = scaled[top : top + length, left : left + length]
                views.append(_resize(view, self.size, self.size).reshape(-1))
        return np.concatenate(views)

    def unpack(self, rows: Any) -> list[Any]:
        """Returns the views of each scale, uint8 [b, count, height, width, channels].

        Args:
          rows: uint8 [b, num_bytes], an array of NumPy or JAX.
        """
        found, start = [], 0
        for views in self.shapes:
            shape = (*views, self.channels)
            end = start + math.prod(shape)
            found.append(rows[:, start:end].reshape(-1, *shape))
            start = end
        return found


def aspect_of(width: int, height: int) -> Aspect:
    """Returns an image's rounded aspect ratio."""
    short = min(width, height)
    across, down = (min(round(TWELFTHS * side / short), LONGEST) for side in (width, height))
    return across, down


def aspects(dataset: Dataset, *, num_workers: int = 0) -> list[tuple[Aspect, np.ndarray]]:
    """Returns the aspect ratios of a split's images, and ascending indices of each, int [n].

    This reads every image. An unreadable image gets the most frequent aspect ratio.

    Args:
      dataset: a split of images of any size.
      num_workers: number of processes that read and decode; 0 uses threads.
    """
    everywhere = np.arange(dataset.num_examples)
    if dataset.images is not None:
        height, width = dataset.images.shape[1:3]
        return [(aspect_of(width, height), everywhere)]
    size = 64  # images per batch

    def make(step: int) -> tuple[dict[str, np.ndarray], list]:
        part = range(step * size, min((step + 1) * size, dataset.num_examples))
        found = np.zeros((len(part), 2), np.int32)
        for row, index in enumerate(part):
            note(index)
            with contextlib.suppress(UnreadableImageError):  # reported in the evaluation
                height, width = dataset.read(index, None)[0].shape[:2]
                found[row] = aspect_of(width, height)
        return {"aspect": found}, []

    batches = -(-dataset.num_examples // size)
    made = prefetch(make, 0, batches, num_workers, dataset.describe)
    every = np.concatenate([batch["aspect"] for batch, _ in made])
    readable = every.any(axis=1)
    if not readable.any():
        return [(SQUARE, everywhere)]
    kinds, counts = np.unique(every[readable], axis=0, return_counts=True)
    every[~readable] = kinds[counts.argmax()]
    return [
        ((int(across), int(down)), np.flatnonzero((every == (across, down)).all(axis=1)))
        for across, down in kinds
    ]


def with_views(dataset: Dataset, views: Views) -> Dataset:
    """Returns a split whose examples are rows of views.

    Args:
      dataset: a split with images of any size.
      views: views to cut out.
    """

    def read(index: int, rng: np.random.Generator | None) -> Example:
        if dataset.images is not None and dataset.labels is not None:
            image, label = dataset.images[index], int(dataset.labels[index])
        else:
            image, label = dataset.read(index, rng)
        return views.cut(image), label

    return dataclasses.replace(
        dataset,
        images=None,
        labels=None,
        read=read,
        array_shape=(views.num_bytes,),
        source=None,
    )


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes uint8 [H, W, C] with any number of channels."""
    if image.shape[:2] == (height, width):
        return image
    import PIL.Image

    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise UnreadableImageError(
            f"{image.shape[1]}x{image.shape[0]} pixels would be {width}x{height} and exceed"
            f" Pillow's safety limit of {limit}"
        )

    def resize(pixels: np.ndarray) -> np.ndarray:
        whole = PIL.Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(whole.resize((width, height), PIL.Image.Resampling.BILINEAR))

    if image.shape[2] == 3:
        return resize(image)
    return np.stack([resize(channel) for channel in np.moveaxis(image, -1, 0)], axis=-1)
