"""Data: `load` returns a Dataset, `pipeline` makes batches, `augment` transforms them.

Each kind of data set has its own file. A batch is a pure function of (seed, step).
"""

import os
from collections.abc import Callable
from typing import Any

from jaxcnn.data.dataset import Dataset, from_arrays, split_holdout
from jaxcnn.data.fields import KINDS, DatasetConfig, LoadConfig
from jaxcnn.data.images.transforms import Cropper, WholeImage
from jaxcnn.errors import UserError, nearest

# The user's own functions by name, MODULE:FUNCTION; `config.user_modules` adds them.
LOADERS: dict[str, Callable[[str, LoadConfig], Dataset]] = {}
SPLITS = ("train", "validation", "test")

__all__ = [
    "KINDS",
    "SPLITS",
    "Dataset",
    "DatasetConfig",
    "LoadConfig",
    "from_arrays",
    "load",
    "load_split",
]


def has_validation(config: DatasetConfig) -> bool:
    """Returns whether the data have a validation split, without reading images."""
    if config.kind == "folder" and config.dir:
        from jaxcnn.data.datasets import folder

        return folder.has_validation(config.dir, config.holdout)
    return bool(config.holdout or config.holdout_per_class)


def load(kind: str, split: str, *, whole_images: bool = False, **fields: Any) -> Dataset:
    """Returns one split of a data set: `load("digits", "train", image_size=28, channels=1)`.

    Args:
      kind: "digits" (ships inside scikit-learn), "glyphs" (drawn characters), "synthetic"
        (patterns), "folder" (image files) or "tfds" (prepared by TensorFlow Datasets).
      split: see `load_split`.
      whole_images: see `load_split`.
      **fields: other fields of `LoadConfig`.

    Raises:
      UserError: see `load_split`.
    """
    if "dir" in fields:
        fields["dir"] = os.fspath(fields["dir"])
    return load_split(LoadConfig(kind=kind, **fields), split, whole_images=whole_images)


def load_split(config: LoadConfig, split: str, *, whole_images: bool = False) -> Dataset:
    """Returns one split of a data set; every image is uint8 [size, size, channels].

    Args:
      config: the data set and the image size: `image_size`, or for splits other than "train"
        `eval_image_size` if it is not 0.
      split: "train", "validation" (if examples are held out, or a folder has it) or "test".
      whole_images: whether to return whole images for `views.with_views` instead of the evaluation
        crop; `image_shape` stays the shape of the network's images.

    Raises:
      UserError: if the split is unknown, or the data are missing or not of the right form.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r} does not exist: {nearest(split, SPLITS)}")
    if config.holdout_per_class and (config.kind != "tfds" or config.holdout):
        raise UserError(
            f"holdout_per_class={tuple(config.holdout_per_class)} is for kind=tfds without holdout"
        )
    size = config.image_size if split == "train" else config.eval_image_size or config.image_size
    if config.kind == "synthetic":
        from jaxcnn.data.datasets.synthetic import load_synthetic

        return load_synthetic(
            split,
            image_size=size,
            channels=config.channels,
            num_classes=config.num_classes,
            num_examples=config.num_examples,
            holdout=config.holdout,
        )
    if config.kind == "glyphs":
        from jaxcnn.data.datasets.glyphs import load_glyphs

        return load_glyphs(
            split,
            image_size=size,
            channels=config.channels,
            num_examples=config.num_examples,
            holdout=config.holdout,
        )
    if ":" in config.kind:
        return _load_own(config, split, size)
    low, high = config.scale_range
    crop = Cropper(
        size,
        config.channels,
        config.train_crop,
        config.eval_crop,
        config.resize,
        (low, high),
        config.interpolation,
    )
    cropper = WholeImage(size, config.channels) if whole_images else crop
    if config.kind == "digits":
        from jaxcnn.data.datasets.digits import load_digits

        return load_digits(split, image_size=size, channels=config.channels, holdout=config.holdout)
    if config.kind == "folder":
        from jaxcnn.data.datasets.folder import load_folder

        return load_folder(split, dir=config.dir, cropper=cropper, holdout=config.holdout)
    from jaxcnn.data.datasets.tfds import load_tfds

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


def _load_own(config: LoadConfig, split: str, size: int) -> Dataset:
    """Returns a split that the user's own function loads.

    The function is called with "train" and "test"; a validation split is held out of "train".

    Raises:
      UserError: if the user did not name the function, or it returns images of another size.
    """
    if config.kind not in LOADERS:
        raise UserError(
            f"data.kind={config.kind} is Python code, which runs only if you name it yourself: if"
            f" you trust it, add --config.data.kind={config.kind}"
        )
    source = LOADERS[config.kind]("test" if split == "test" else "train", config)
    if not isinstance(source, Dataset):
        raise UserError(f"{config.kind} returns a {type(source).__name__}, not a Dataset")
    wanted = (size, size, config.channels)
    if source.image_shape != wanted:
        raise UserError(
            f"{config.kind} has images of {source.image_shape}, not {wanted}: set data.image_size"
            " and data.channels, or resize the images"
        )
    if split == "test":
        return source
    return split_holdout(source, split, config.holdout, labels=source.labels)
