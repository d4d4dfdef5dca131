"""Several right labels for one of ImageNet's validation images, as in ReaL."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import read_json

LABELS_BYTES = 16_000_000  # real.json has half a million
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})")


def several_labels(file: Path, num_classes: int) -> list[frozenset[int]]:
    """Returns the right outputs of each of ILSVRC2012's validation images, by its number.

    The file is a JSON list with a list of outputs for each image, as `real.json` of Beyer et al.,
    "Are we done with ImageNet?" (2020). Images with an empty list do not count.

    Args:
      file: the JSON file.
      num_classes: of the weights.

    Raises:
      UserError: if it cannot be read, or is something else.
    """
    try:
        content = read_json(file, LABELS_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {file}: {reason}") from error
    outputs = range(num_classes)
    rows: list[Any] = content if isinstance(content, list) and content else [None]
    if not all(
        isinstance(row, list) and all(type(one) is int and one in outputs for one in row)
        for row in rows
    ):
        raise UserError(
            f"{file} is no list of labels: wanted is a JSON list with a list for each image, of"
            f" numbers from 0 to {num_classes - 1}"
        )
    return [frozenset(row) for row in rows]


def hits_of_several(
    likeliest: np.ndarray, numbers: np.ndarray, labels: Sequence[frozenset[int]]
) -> np.ndarray:
    """Returns whether the likeliest output is right, bool [m], for the m images that have labels.

    Args:
      likeliest: int [n], an output for each image.
      numbers: int [n], of the images, from 1.
      labels: of all images, by number.

    Raises:
      UserError: if an image has a number beyond the labels, or none has labels.
    """
    beyond = numbers[(numbers < 1) | (numbers > len(labels))]
    if len(beyond):
        raise UserError(
            f"image {beyond[0]} has no row among the labels of {len(labels):,} images: give the"
            " labels of these images"
        )
    right = [labels[number - 1] for number in numbers]
    found = [int(one) in those for one, those in zip(likeliest, right, strict=True) if those]
    if not found:
        raise UserError("none of the images has a label: give the labels of these images")
    return np.array(found)


def image_numbers(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Returns the numbers, int [n], in the names of ILSVRC2012's validation images.

    Raises:
      UserError: if the data do not know the names of their files, or a name is another.
    """
    if dataset.file_name is None:
        raise UserError(f"{dataset.name} has no names of image files, which --labels needs")
    numbers = []
    for index in indices:
        name = dataset.file_name(int(index))
        match = NUMBERED.search(name)
        if match is None:
            raise UserError(
                f"{dataset.describe(int(index))} has no number of an image: --labels is for files"
                " with the names of ILSVRC2012, such as ILSVRC2012_val_00000293.JPEG"
            )
        numbers.append(int(match[1]))
    return np.array(numbers)
