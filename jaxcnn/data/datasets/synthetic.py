"""Synthetic images that a network can learn, for tests and speed measurements.

Every class is a coarse pattern of 4×4 blocks; an image is half class pattern, half noise. A pixel
depends only on (split, index, position), so the images are the same everywhere.
"""

import dataclasses
import functools

import numpy as np

from jaxcnn.data.dataset import Dataset, Example, random_bits, split_holdout
from jaxcnn.errors import UserError

MEMORY_LIMIT = 256 * 2**20  # bytes; larger images are made when they are read
_BLOCKS = 4


def load_synthetic(
    split: str,
    *,
    image_size: int = 32,
    channels: int = 3,
    num_classes: int = 10,
    num_examples: int = 1024,
    holdout: int = 0,
) -> Dataset:
    """Returns `num_examples` images, uint8 [image_size, image_size, channels].

    Training and test examples differ in their noise; example `i` has label `i % num_classes`.

    Args:
      split: "train", "validation" (held out of training) or "test".
      image_size: side in pixels.
      channels: number of channels.
      num_classes: number of patterns.
      num_examples: number of training examples and also of test examples.
      holdout: number of training examples for the validation split, stratified by class.

    Raises:
      UserError: if a size is below 1, or the holdout does not fit.
    """
    for field, value in [("num_classes", num_classes), ("num_examples", num_examples)]:
        if value < 1:
            raise UserError(f"{field}={value}: synthetic data needs at least 1")
    shape = (image_size, image_size, channels)
    part = 1 if split == "test" else 0
    part_name = "test" if part else "train"  # a held-out image keeps its training name

    def read(index: int, rng: np.random.Generator | None) -> Example:
        del rng  # no crops
        label = index % num_classes
        return _draw(part, index, label, shape), label

    dataset = Dataset(
        name="synthetic",
        split=split,
        num_examples=num_examples,
        num_classes=num_classes,
        image_shape=shape,
        class_names=tuple(f"pattern {label}" for label in range(num_classes)),
        describe=lambda index: f"synthetic {part_name} image {index}",
        read=read,
        label_of=lambda index: index % num_classes,
    )
    labels = np.arange(num_examples, dtype=np.int32) % num_classes
    if split != "test":
        dataset = split_holdout(dataset, split, holdout, labels=labels)
    return _in_memory(dataset) if dataset.num_examples * np.prod(shape) <= MEMORY_LIMIT else dataset


def _draw(part: int, index: int, label: int, shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = shape
    size = height * width * channels
    noise = _noise(max(2**20, 4 * size))
    start = int(random_bits((part, 0), stream=3, index=index).random_raw()) % (len(noise) - size)
    image = noise[start : start + size].reshape(shape).copy()
    bands = (
        _bytes((2, label), _BLOCKS * _BLOCKS * channels).reshape(_BLOCKS, _BLOCKS, channels) >> 1
    )
    bands = bands[:, np.arange(width) * _BLOCKS // width]  # [blocks, width, channels]
    for row, band in enumerate(bands):
        image[-(-row * height // _BLOCKS) : -(-(row + 1) * height // _BLOCKS)] += band
    return image


@functools.lru_cache(maxsize=2)
def _noise(count: int) -> np.ndarray:
    """Returns bytes below 128; each image takes a window of them, because drawing is slow."""
    return _bytes((3, 0), count) >> 1


def _bytes(key: tuple[int, int], count: int) -> np.ndarray:
    # "<u8" gives the same bytes on machines of either byte order.
    bits = random_bits(key, stream=3)
    return bits.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]


def _in_memory(dataset: Dataset) -> Dataset:
    examples = [dataset.read(index, None) for index in range(dataset.num_examples)]
    images = np.stack([image for image, _ in examples])
    labels = np.array([label for _, label in examples], dtype=np.int32)
    return dataclasses.replace(dataset, images=images, labels=labels)
