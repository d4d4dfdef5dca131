"""Reads MNIST and Fashion-MNIST: four files in the IDX format, compressed or not.

IDX: two zero bytes, one byte for the type (8: unsigned bytes), one for the number of dimensions,
each dimension as 4 bytes in big-endian order, then the values.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcnn.data.prepare.files import read_files
from jaxcnn.data.prepare.original import DIGITS, Examples, Original, arrays
from jaxcnn.errors import UserError

SPLITS = {"train": "train", "test": "t10k"}
GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_mnist(source: Path) -> Original:
    """Returns MNIST; see `_open`."""
    return _open(
        source,
        name="mnist",
        description="Handwritten digits, 28x28 pixels, grey.",
        homepage="http://yann.lecun.com/exdb/mnist/",
        classes=DIGITS,
    )


def read_fashion_mnist(source: Path) -> Original:
    """Returns Fashion-MNIST; see `_open`."""
    return _open(
        source,
        name="fashion_mnist",
        description="Garments and shoes, 28x28 pixels, grey.",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        classes=GARMENTS,
    )


def _open(
    source: Path, *, name: str, description: str, homepage: str, classes: tuple[str, ...]
) -> Original:
    """Returns a data set from IDX files.

    Raises:
      UserError: if the files are missing or damaged.
    """
    wanted = [file for prefix in SPLITS.values() for file in _names(prefix)]
    content, paths = read_files(source, wanted)
    splits = {}
    for split, prefix in SPLITS.items():
        missing = [file for file in _names(prefix) if file not in content]
        if len(missing) == 1:
            raise UserError(f"no {missing[0]} in {source}, only the other file of {split}")
        if not missing:
            splits[split] = functools.partial(_split, split, prefix, content, len(classes))
    if not splits:
        raise UserError(f"no files of {name} in {source}: expected {', '.join(wanted)} (or .gz)")
    return Original(
        name=name,
        version="3.0.1",
        description=description,
        homepage=homepage,
        image_shape=(28, 28, 1),
        encoding="",
        labels={"label": classes},
        texts=(),
        published={"train": 60_000, "test": 10_000},
        splits=splits,
        files=paths,
    )


def _names(prefix: str) -> tuple[str, str]:
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"


def _split(split: str, prefix: str, content: Mapping[str, bytes], num_classes: int) -> Examples:
    of_images, of_labels = _names(prefix)
    images = parse_idx(content[of_images], of_images, dimensions=3)
    labels = parse_idx(content[of_labels], of_labels, dimensions=1)
    if images.shape[1:] != (28, 28):
        raise UserError(f"{of_images} has images of {images.shape[1:]}, not 28x28: another file")
    if len(images) != len(labels):
        raise UserError(f"{len(images)} images and {len(labels)} labels of {split}: download again")
    return arrays(split, images, {"label": labels}, num_classes={"label": num_classes})


def parse_idx(data: bytes, name: str, *, dimensions: int) -> np.ndarray:
    """Returns the values of an IDX file of unsigned bytes.

    Args:
      data: decompressed content of the file.
      name: name of the file, for messages.
      dimensions: expected number of dimensions.

    Raises:
      UserError: if the format is another, or the length does not match the dimensions.
    """
    start = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) < start:
        raise UserError(f"{name} does not begin as an IDX file of {dimensions} dimensions does")
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4"))
    expected = start + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise UserError(
            f"{name} has {len(data):,} bytes and its dimensions {shape} make {expected:,}: it is"
            " truncated or damaged; download it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
