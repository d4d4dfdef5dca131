"""Reads photographs in one folder per class, like `jaxcnn.data.datasets.folder`."""

import functools
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.datasets import folder
from jaxcnn.data.datasets.folder import VALIDATION_FOLDERS
from jaxcnn.data.images import listing
from jaxcnn.data.images.decode import IMAGE_BYTES
from jaxcnn.data.prepare import photos
from jaxcnn.data.prepare.files import check_source
from jaxcnn.data.prepare.original import Examples, Original
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import read_bytes

NAME = re.compile(r"[a-z][a-z0-9_]*")
SPLITS = {"train": "train", "test": "test", **dict.fromkeys(VALIDATION_FOLDERS, "validation")}


def read_folder(source: Path, name: str = "") -> Original:
    """Returns the images below `source`/train, and test, val or validation if they exist.

    Args:
      source: the folder that holds `train`.
      name: name of the data set; the default is that of the folder.

    Raises:
      UserError: if the folder is missing or has no images, a name is not valid in TFDS, or train
        lacks a class.
    """
    check_source(source)
    name = name or re.sub(r"[^a-z0-9]+", "_", source.resolve().name.lower()).strip("_")
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a name for a data set: set --name to one such as my_photos"
        )
    if not (source / "train").is_dir():
        raise UserError(f"no folder {source / 'train'}; {folder.LAYOUT}")
    classes = listing.subfolders(source / "train")
    if len(classes) < 2:
        raise UserError(f"{source / 'train'} holds {len(classes)} class folders, not two or more")
    listing.check_class_names(source / "train", classes)
    if padded := [one for one in classes if one != one.strip()]:
        raise UserError(
            f"the class folder {padded[0]!r} in {source / 'train'} begins or ends with a space,"
            " which TFDS removes: rename it"
        )
    splits = {}
    files: list[Path] = []
    for part, split in SPLITS.items():
        if not (source / part).is_dir():
            continue
        if split in splits:
            raise UserError(f"{source} has several folders of {split}: remove all but one")
        unknown = sorted(set(listing.subfolders(source / part)) - set(classes))
        if unknown:
            raise UserError(f"{source / part} has a class that train lacks: {unknown[0]!r}")
        relative, labels = folder.list_classes(source / part, classes)
        if not len(relative):
            raise UserError(f"no image below {source / part}; {folder.LAYOUT}")
        paths = [source / part / os.fsdecode(file) for file in relative.tolist()]
        _check_names(paths)
        splits[split] = functools.partial(_split, source / part, paths, labels)
        files += paths
    return Original(
        name=name,
        version="1.0.0",
        description=f"Photographs of {len(classes)} classes.",
        homepage="",
        image_shape=(None, None, 3),
        encoding="",
        labels={"label": classes},
        texts=("file_name",),
        published={},
        splits=splits,
        files=files,
    )


def _check_names(paths: list[Path]) -> None:
    for path in paths:
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"the name of {path} is not UTF-8, as TFDS wants it: rename it"
            ) from None


def _split(root: Path, paths: list[Path], labels: np.ndarray) -> Examples:
    names = [path.relative_to(root).as_posix() for path in paths]

    def describe(index: int) -> str:
        return str(paths[index])

    def read(index: int) -> dict[str, Any]:
        data = read_bytes(paths[index], IMAGE_BYTES)
        photos.check(data)
        return {"file_name": names[index], "image": data, "label": int(labels[index])}

    size = sum(path.stat().st_size for path in paths)
    return Examples(keys=names, read=read, describe=describe, num_bytes=size)
