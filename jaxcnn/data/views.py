"""What the test-time protocols look at, cut out on the host: squares, or whole images.

A scale is the short side, in pixels, that the image is brought to (Pillow, bilinear, antialiased
when shrinking; the long side keeps the aspect). Boxes lie in the image at that scale. All views of
an example are handed on as one row of bytes, so that a batch is one array whatever their sizes.

Whole images have as many shapes as there are aspects, and a network is compiled for each. So the
long side is brought to whole twelfths of the short one, by 4 % of it at most: 4:3 and 3:2 stay as
they are. Beyond four times the short side it is brought to that. Those of one aspect make batches.
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
    """A square: pixels from the left and the top of the image at its scale, and its side."""

    left: int
    top: int
    side: int


TWELFTHS, LONGEST = 12, 48  # of the short side

Aspect = tuple[int, int]
"""Width and height, in twelfths of the short side."""

SQUARE: Aspect = (TWELFTHS, TWELFTHS)

Boxes = Callable[[int, int, int], list[Box]]
"""(width and height of the image at its scale, side of the network's images) → boxes.

Their number depends on nothing."""


def resized(size: tuple[int, int], short: int) -> tuple[int, int]:
    """Returns (width, height) of an image whose short side has been brought to `short`."""
    width, height = size
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def centre(width: int, height: int, side: int) -> Box:
    """The middle square of a side."""
    return Box(round((width - side) / 2), round((height - side) / 2), side)


def whole_square(width: int, height: int, size: int) -> list[Box]:
    """The middle square of the whole short side."""
    del size
    return [centre(width, height, min(width, height))]


def corners_and_centre(square: Box, size: int) -> list[Box]:
    """Five boxes of `size` in a square: top left, top right, bottom left, bottom right, middle."""
    left, top, side = square
    far = side - size
    middle = centre(side, side, size)
    places = [(0, 0), (far, 0), (0, far), (far, far), middle[:2]]
    return [Box(left + x, top + y, size) for x, y in places]


def five_crops(width: int, height: int, size: int) -> list[Box]:
    """Corners and centre of the middle square (AlexNet, §4.1: of its 256x256)."""
    return corners_and_centre(whole_square(width, height, size)[0], size)


def grid(width: int, height: int, size: int) -> list[Box]:
    """5x5 boxes at even distances over the whole image (VGG, §3.2)."""
    across, down = (
        [round(i * (length - size) / 4) for i in range(5)] for length in (width, height)
    )
    return [Box(x, y, size) for y in down for x in across]


def squares_crops(width: int, height: int, size: int) -> list[Box]:
    """Three squares: left, middle and right, or top, middle and bottom; six views of each.

    Those are the corners, the centre, and the square itself (GoogLeNet, §7).
    """
    short = min(width, height)
    middle = whole_square(width, height, size)[0]
    squares = [Box(0, 0, short), middle, Box(width - short, height - short, short)]
    return [box for square in squares for box in (*corners_and_centre(square, size), square)]


@dataclasses.dataclass(frozen=True)
class Views:
    """From an image of any size to the bytes of all its views.

    Attributes:
      size: side of the network's images.
      channels: of the images.
      boxes: what is cut out at every scale; boxes of another side than `size` are brought to it.
        None keeps the whole image.
      scales: short sides, in pixels.
      aspect: of whole images.
    """

    size: int
    channels: int
    boxes: Boxes | None
    scales: tuple[int, ...]
    aspect: Aspect = SQUARE

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Number, height and width of the views of each scale."""
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
        """Length of the row of an example."""
        return sum(map(math.prod, self.shapes)) * self.channels

    @property
    def cost(self) -> float:
        """Pixels of an example, in images of the network's own size."""
        return self.num_bytes / (self.size * self.size * self.channels)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Returns the views of an image, scale by scale in the order of the boxes.

        Args:
          image: uint8 [H, W, channels].

        Returns:
          uint8 [num_bytes].

        Raises:
          UnreadableImageError: so long and narrow that it would be huge at its scale.
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
    """Returns the nearest aspect that images are brought to."""
    short = min(width, height)
    across, down = (min(round(TWELFTHS * side / short), LONGEST) for side in (width, height))
    return across, down


def aspects(dataset: Dataset, *, num_workers: int = 0) -> list[tuple[Aspect, np.ndarray]]:
    """Returns the aspects of a split's whole images, and the positions of each, int [n], rising.

    Every image is read for that. One that cannot be read is put to the most frequent aspect.

    Args:
      dataset: a split of images of any size.
      num_workers: processes that read and decode; 0 uses threads.
    """
    everywhere = np.arange(dataset.num_examples)
    if dataset.images is not None:
        height, width = dataset.images.shape[1:3]
        return [(aspect_of(width, height), everywhere)]
    size = 64  # images at once

    def make(step: int) -> tuple[dict[str, np.ndarray], list]:
        part = range(step * size, min((step + 1) * size, dataset.num_examples))
        found = np.zeros((len(part), 2), np.int32)
        for row, index in enumerate(part):
            note(index)
            with contextlib.suppress(UnreadableImageError):  # which is told when they are evaluated
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
      dataset: its images may be of any size.
      views: the crops.
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
    )


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Brings uint8 [H, W, C], of any number of channels, to another size."""
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
