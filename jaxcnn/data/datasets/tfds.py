"""Reads TensorFlow Datasets that were prepared in ArrayRecord format, without TensorFlow.

Nothing is downloaded. A missing data set is an error that explains how to prepare it.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.dataset import (
    Dataset,
    Example,
    UnreadableImageError,
    hold_out_classes,
    split_holdout,
)
from jaxcnn.data.datasets.tfds_folder import (
    FEATURES,
    INFO,
    class_names,
    first_line,
    open_builder,
    open_split,
    read_info,
)
from jaxcnn.data.images.transforms import Cropper, WholeImage, source
from jaxcnn.errors import MissingSplitError, UserError
from jaxcnn.io import paths

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
FILE_NAME = "file_name"  # the feature that has it, in imagenet2012 and others
READABLE = ("array_record",)
# Data sets that jaxcnn.data.prepare makes from the original files.
PREPARED_HERE = ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "imagenet2012")


def load_tfds(
    split: str,
    *,
    name: str,
    dir: str = "",
    cropper: Cropper | WholeImage,
    holdout: int = 0,
    holdout_per_class: Sequence[int] = (),
    train_split: str = "train",
    test_split: str = "test",
) -> Dataset:
    """Returns a prepared TFDS data set; its images are decoded when they are read.

    Args:
      split: "train", "validation" (held out of training, without regard to class) or "test".
      name: name as in TFDS: "cifar10", with a config "imagenet_resized/32x32", with a version
        "cifar10:3.0.2". The default is the newest version found.
      dir: folder of TFDS; the default is TFDS_DATA_DIR, else ~/tensorflow_datasets.
      cropper: decodes one image to uint8 [size, size, channels].
      holdout: number of training examples for the validation split.
      holdout_per_class: alternatively, number per class for each part of `train_split`.
      train_split: the TFDS split to train on, or several joined as "train+extra".
      test_split: the TFDS split to test on.

    Raises:
      UserError: if the data set is not prepared in ArrayRecord format, a split is missing, or its
        features have no image and class label.
    """
    if not name:
        raise UserError("data of kind 'tfds' needs data.name, such as cifar10")
    root = data_root(dir)
    folder = _find(root, name)
    _check_format(folder, name)
    field = "test_split" if split == "test" else "train_split"
    wanted = tuple((test_split if split == "test" else train_split).split("+"))
    records = _open(root, folder, name, wanted, field)
    file_name = records.file_name if records.has_file_names else None
    names, starts = records.class_names, records.starts
    dataset = Dataset(
        name=name,
        split=split,
        num_examples=starts[-1],
        num_classes=len(names),
        image_shape=(cropper.size, cropper.size, cropper.channels),
        class_names=names,
        describe=records.describe,
        file_name=file_name,
        read=partial(records.read, cropper),
        label_of=records.label_of,
        contents=partial(records.contents, folder.name),
        source=source(cropper, split, f"tfds {wanted}", records.files),
    )
    if split == "test":
        return dataset
    if holdout_per_class:
        return hold_out_classes(
            dataset, split, holdout_per_class, starts=starts, label_of=records.label_of
        )
    return split_holdout(dataset, split, holdout, labels=None)


class _Records(NamedTuple):
    """Encoded examples of one or several splits of TFDS, concatenated.

    Attributes:
      name: name of the data set.
      splits: names of the splits.
      parts: records of each split, by position.
      starts: index of the first example of each split, then the number of all examples.
      image_key: name of the image feature.
      label_key: name of the label feature.
      class_names: one name per label.
      has_file_names: whether the feature `file_name` has the image file's.
      paths: files of all splits, and of the description of their features.
    """

    name: str
    splits: tuple[str, ...]
    parts: list[Any]
    starts: list[int]
    image_key: str
    label_key: str
    class_names: tuple[str, ...]
    has_file_names: bool
    paths: tuple[str, ...]

    def _place(self, index: int) -> tuple[int, int]:
        """Returns the number of the split that holds an example, and its position there."""
        part = bisect_right(self.starts, index) - 1
        return part, index - self.starts[part]

    def _record(self, index: int) -> Any:
        part, position = self._place(index)
        return self.parts[part][position]

    def describe(self, index: int) -> str:
        part, position = self._place(index)
        return f"{self.name} {self.splits[part]} record {position}"

    def read(
        self, cropper: Cropper | WholeImage, index: int, rng: np.random.Generator | None
    ) -> Example:
        try:
            record = self._record(index)
        except Exception as error:  # the error for a damaged file depends on the damage
            raise UnreadableImageError(first_line(error)) from error
        label, classes = int(record[self.label_key]), len(self.class_names)
        if not 0 <= label < classes:
            raise UnreadableImageError(f"its label {label} is none of the {classes} classes")
        return cropper(record[self.image_key], rng, self.describe(index)), label

    def label_of(self, index: int) -> int:
        try:
            return int(self._record(index)[self.label_key])
        except Exception:  # `read` reports the same error
            return -1

    def file_name(self, index: int) -> str:
        return os.fsdecode(self._record(index)[FILE_NAME])

    def files(self) -> dict[str, str]:
        return {os.path.basename(path): path for path in self.paths}

    def contents(self, version: str) -> dict[str, Any]:
        return {
            "version": f"{self.name} {version}",
            "parts": dict(zip(self.splits, map(len, self.parts), strict=True)),
        }


def _open(root: Path, folder: Path, name: str, splits: tuple[str, ...], field: str) -> _Records:
    """Opens splits of a prepared data set.

    Raises:
      UserError: if a split does not exist (the message names the field), or has no image or label.
    """
    import tensorflow_datasets as tfds

    builder = open_builder(folder)
    for part in splits:
        if part not in builder.info.splits:
            known = sorted(builder.info.splits)
            raise MissingSplitError(
                f"{name} has no split {part!r} (it has {', '.join(known)}): set {field}, or remove"
                f" {folder} and prepare it with that split."
                f" {_recipe(root, name.partition(':')[0])}"
            )
    features = builder.info.features
    image_key = _feature(features, tfds.features.Image, name)
    label_key = _feature(features, tfds.features.ClassLabel, name)
    # The images stay encoded, so that they are decoded once, at the required size.
    decoders = {
        key: tfds.decode.SkipDecoding()
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    }
    names = class_names(features[label_key], folder, label_key)
    parts = [open_split(builder, folder, part, decoders) for part in splits]
    starts = [0, *accumulate(map(len, parts))]
    has_file_names = FILE_NAME in features
    shards = [os.fspath(path) for part in splits for path in builder.info.splits[part].filepaths]
    return _Records(
        name,
        splits,
        parts,
        starts,
        image_key,
        label_key,
        names,
        has_file_names,
        (str(folder / FEATURES), *shards),
    )


def data_root(dir: str = "") -> Path:
    """Returns the folder of TFDS: `dir`, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(paths.expand(dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"))


def _find(root: Path, name: str) -> Path:
    """Returns root/name[/config]/version, by default the newest version."""
    path, _, version = name.partition(":")
    folder = root / path
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise UserError(f"{name!r} is not the name of a TFDS data set; give the folder as dir")
    if version:
        if os.path.exists(folder / version / INFO):
            return folder / version
        raise UserError(f"{name} is not prepared: no {folder / version}. {_recipe(root, path)}")
    found = _versions(folder)
    if found:
        return found[-1]
    if os.path.isdir(folder):
        configs = [entry.name for entry in _entries(folder) if _versions(entry)]
        if configs:
            raise UserError(
                f"{name} has configs and none is named: choose one of"
                f" {', '.join(f'{path}/{config}' for config in configs)}"
            )
    others = [e.name for e in _entries(folder.parent) if os.path.isdir(e) and e != folder]
    hint = f"; found there: {', '.join(others[:8])}" if others else ""
    raise UserError(f"{name} is not prepared: nothing in {folder}{hint}. {_recipe(root, path)}")


def _versions(folder: Path) -> list[Path]:
    numbered = [
        (tuple(int(part) for part in match.groups()), entry)
        for entry in _entries(folder)
        if (match := _VERSION.fullmatch(entry.name)) and os.path.exists(entry / INFO)
    ]
    return [entry for _, entry in sorted(numbered)]


def _entries(folder: Path) -> list[Path]:
    """Returns the sorted content of a folder; nothing if it is not one."""
    if not os.path.isdir(folder):
        return []
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None


def _check_format(folder: Path, name: str) -> None:
    """Refuses formats without random access, before the slow import of TFDS."""
    info = read_info(folder)
    formats = [info["fileFormat"], *info["alternativeFileFormats"]]
    if not set(formats) & set(READABLE):
        how = (
            f"`python -m jaxcnn.data.prepare convert --source={folder} --out=DIR` writes it as"
            " array_record; then set dir=DIR"
            if formats[0] == "tfrecord"
            else "prepare it as array_record"
        )
        raise UserError(
            f"{name} in {folder} is stored as {formats[0]}, which allows no random access: {how}"
        )


def _recipe(root: Path, path: str) -> str:
    ours = {"svhn_cropped": "svhn"}.get(path, path)
    if ours in PREPARED_HERE:
        return (
            f"`python -m jaxcnn.data.prepare {ours} --source=DIR --out={root}` makes it of the"
            " files in DIR that it is published as"
        )
    return (
        "On a machine with TensorFlow run"
        f" `tfds build {path} --file_format=array_record`, then copy its data folder here and set"
        " dir or TFDS_DATA_DIR"
    )


def _feature(features: Any, kind: type, name: str) -> str:
    """Returns the key of the only top-level feature of a type."""
    found = [key for key, feature in features.items() if isinstance(feature, kind)]
    usual = {"Image": "image", "ClassLabel": "label"}[kind.__name__]
    if usual in found:
        return usual
    if len(found) != 1:
        raise UserError(
            f"{name} is not a data set for image classification: {len(found)} features of type"
            f" {kind.__name__} among {', '.join(features)}, not one"
        )
    return found[0]
