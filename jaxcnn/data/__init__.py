"""Data: `load` gives a Dataset, `pipeline` makes batches of it, `augment` changes them.

One kind of data set, one file. A batch is a pure function of (seed, step).
"""

import dataclasses
import os
from typing import Any

from jaxcnn.config import spec
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.images.transforms import CropConfig, Cropper, WholeImage
from jaxcnn.errors import UserError, nearest

KINDS = ("digits", "synthetic", "folder", "tfds")
SPLITS = ("train", "validation", "test")

__all__ = ["KINDS", "SPLITS", "Dataset", "DatasetConfig", "LoadConfig", "load", "load_split"]


@dataclasses.dataclass(frozen=True)
class DatasetConfig(spec.Section):
    """Part of the section `data`: which examples."""

    kind: str = spec.field("digits", " | ".join(KINDS), spec.choice(*KINDS))
    name: str = spec.field("", "of tfds: name of the data set, such as cifar10", spec.text)
    dir: str = spec.field(
        "", "of folder and tfds: where the data are; '' is TFDS's own folder", spec.text
    )
    num_classes: int = spec.field(10, "of synthetic", spec.whole(2, 10**6))
    num_examples: int = spec.field(2048, "of synthetic: images of each split", spec.whole(1, 10**9))
    train_split: str = spec.field(
        "train", "of tfds: name, or several such as train+extra", spec.name
    )
    test_split: str = spec.field("test", "of tfds", spec.name)
    holdout: int = spec.field(
        0,
        "training examples held out as the split validation, evaluated during training; of a"
        " folder of class folders as the split test",
        spec.count,
    )
    holdout_per_class: tuple[int, ...] = spec.field(
        (),
        "of tfds, instead of holdout: examples of each class, for each part of train_split",
        spec.several(spec.count),
    )


def has_validation(config: DatasetConfig) -> bool:
    """Tells whether the data have a validation split, without reading images."""
    if config.kind == "folder" and config.dir:
        from jaxcnn.data import folder

        return folder.has_validation(config.dir, config.holdout)
    return bool(config.holdout or config.holdout_per_class)


@dataclasses.dataclass(frozen=True)
class LoadConfig(CropConfig, DatasetConfig):
    """Part of the section `data`: which examples, at which size."""


def load(kind: str, split: str, *, whole_images: bool = False, **fields: Any) -> Dataset:
    """Returns one split of a data set: `load("digits", "train", image_size=28, channels=1)`.

    Args:
      kind: "digits" (ships inside scikit-learn), "synthetic" (made up), "folder" (image files) or
        "tfds" (prepared by TensorFlow Datasets).
      split: see `load_split`.
      whole_images: see `load_split`.
      **fields: others of `LoadConfig`.

    Raises:
      UserError: see `load_split`.
    """
    if "dir" in fields:
        fields["dir"] = os.fspath(fields["dir"])
    return load_split(LoadConfig(kind=kind, **fields), split, whole_images=whole_images)


def load_split(config: LoadConfig, split: str, *, whole_images: bool = False) -> Dataset:
    """Returns one split of a data set; every image is uint8 [size, size, channels].

    Args:
      config: which data set; the size is `image_size`, of other splits than "train"
        `eval_image_size` where that is not 0.
      split: "train", "validation" (where examples are held out, or a folder has one) or "test".
      whole_images: instead of the crop of evaluation every image as it is, for `views.with_views`;
        `image_shape` stays that of the network's images.

    Raises:
      UserError: for an unknown split, or data that are missing or not as the kind needs them.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r} does not exist: {nearest(split, SPLITS)}")
    if config.holdout_per_class and (config.kind != "tfds" or config.holdout):
        raise UserError(
            f"holdout_per_class={tuple(config.holdout_per_class)} is for kind=tfds without holdout"
        )
    size = config.image_size if split == "train" else config.eval_image_size or config.image_size
    if config.kind == "synthetic":
        from jaxcnn.data.synthetic import load_synthetic

        return load_synthetic(
            split,
            image_size=size,
            channels=config.channels,
            num_classes=config.num_classes,
            num_examples=config.num_examples,
            holdout=config.holdout,
        )
    low, high = config.scale_range
    crop = Cropper(
        size, config.channels, config.train_crop, config.eval_crop, config.resize, (low, high)
    )
    cropper = WholeImage(size, config.channels) if whole_images else crop
    if config.kind == "digits":
        from jaxcnn.data.digits import load_digits

        return load_digits(split, image_size=size, channels=config.channels, holdout=config.holdout)
    if config.kind == "folder":
        from jaxcnn.data.folder import load_folder

        return load_folder(split, dir=config.dir, cropper=cropper, holdout=config.holdout)
    from jaxcnn.data.tfds import load_tfds

    return load_tfds(
        split,
        name=config.name,
        dir=config.dir,
        cropper=cropper,
        holdout=config.holdout,
        holdout_per_class=config.holdout_per_class,
        train_split=config.train_split,
        test_split=config.test_split,
    )
