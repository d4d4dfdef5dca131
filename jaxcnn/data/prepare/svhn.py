"""Reads SVHN, cropped to 32x32: MATLAB files, images X [32, 32, 3, n], labels y [n, 1], 1 to 10.

Label 10 is the digit 0. A file is decompressed as a whole, which temporarily takes twice the size
of its pixels: 3.3 GB of memory for the 531,131 extra images.
"""

import functools
from pathlib import Path

import numpy as np

from jaxcnn.data.prepare.files import check_source, damaged, find
from jaxcnn.data.prepare.mat import read_mat
from jaxcnn.data.prepare.original import DIGITS, Examples, Original, arrays
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import open_regular

PUBLISHED = {"train": 73_257, "test": 26_032, "extra": 531_131}


def read_svhn(source: Path) -> Original:
    """Returns SVHN, cropped.

    Raises:
      UserError: if none of the files is there.
    """
    check_source(source)
    names = {split: f"{split}_32x32.mat" for split in PUBLISHED}
    if source.is_file():
        paths = {split: source for split, name in names.items() if source.name == name}
    else:
        found = {split: find(source, name) for split, name in names.items()}
        paths = {split: path for split, path in found.items() if path}
    if not paths:
        raise UserError(f"no files of svhn in {source}: expected {', '.join(names.values())}")
    return Original(
        name="svhn_cropped",
        version="3.1.0",
        description="Digits of house numbers, 32x32 pixels, in colour.",
        homepage="http://ufldl.stanford.edu/housenumbers/",
        image_shape=(32, 32, 3),
        encoding="",
        labels={"label": DIGITS},
        texts=("id",),
        published=PUBLISHED,
        splits={split: functools.partial(_split, split, path) for split, path in paths.items()},
        files=list(paths.values()),
    )


def _split(split: str, path: Path) -> Examples:
    try:
        with open_regular(path) as file:
            content = read_mat(file, PUBLISHED[split] * (32 * 32 * 3 + 8) + (1 << 20))
        images, labels = np.asarray(content["X"]), np.asarray(content["y"])
    except (OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from error
    if (
        labels.dtype.kind not in "iuf"
        or images.dtype != np.uint8
        or images.shape != (32, 32, 3, labels.size)
    ):
        raise UserError(
            f"{path} has images {images.dtype} {images.shape} and {labels.size} labels, not uint8"
            " (32, 32, 3, n) and n: another file"
        )
    numbers = labels.reshape(-1).astype(np.int64)
    numbers = np.where((numbers >= 1) & (numbers <= 10), numbers % 10, -1)
    # A view: the pixels of one image are contiguous in the file.
    return arrays(
        split,
        np.moveaxis(images, -1, 0),
        {"label": numbers},
        num_classes={"label": len(DIGITS)},
        id_digits=6,
    )
