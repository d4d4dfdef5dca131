"""Data: `load` gives a DataSource, `pipeline` makes batches of it, `augment` changes them.

One kind of data set, one file. A batch is a pure function of (seed, step).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.config import spec
from jaxcnn.data.dataset import DataSource
from jaxcnn.errors import UserError, nearest
from jaxcnn.io import paths

KINDS = ("digits", "synthetic", "folder", "tfds")
SPLITS = ("train", "validation", "test")

__all__ = ["KINDS", "SPLITS", "DataSource", "SourceConfig", "load"]


@dataclasses.dataclass(frozen=True)
class SourceConfig(spec.Section):
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
        "training examples held out as the split validation, evaluated during training",
        spec.count,
    )
    holdout_per_class: tuple[int, ...] = spec.field(
        (),
        "of tfds, instead of holdout: examples of each class, for each part of train_split",
        spec.several(spec.count),
    )


def has_validation(kind: str, dir: str) -> bool:
    """Tells whether the data have a validation split of their own, without reading them."""
    if kind != "folder" or not dir:
        return False
    from jaxcnn.data.folder import validation_folder

    return validation_folder(Path(paths.expand(dir))) is not None


def load(
    kind: str,
    split: str,
    *,
    name: str = "",
    dir: str = "",
    image_size: int = 32,
    channels: int = 3,
    num_classes: int = 10,
    num_examples: int = 1024,
    holdout: int = 0,
    holdout_per_class: Sequence[int] = (),
    train_crop: str = "resize",
    eval_crop: str = "resize",
    resize: int = 0,
    scale_range: tuple[int, int] = (256, 480),
    train_split: str = "train",
    test_split: str = "test",
    whole_images: bool = False,
) -> DataSource:
    """Returns one split of a data set; every image is uint8 [image_size, image_size, channels].

    Args:
      kind: "digits" (ships inside scikit-learn), "synthetic" (made up), "folder" (image files) or
        "tfds" (prepared by TensorFlow Datasets).
      split: "train", "validation" (where examples are held out, or a folder has one) or "test".
      name: the TFDS name, such as "cifar10". tfds only.
      dir: where the data lie. folder and tfds only.
      image_size: pixels of each side.
      channels: 1 (grey) or 3 (RGB); synthetic data take any number.
      num_classes: synthetic only; the other kinds know theirs.
      num_examples: of the training split and again of the test split. synthetic only.
      holdout: how many training examples become the validation split; the same in every run.
      holdout_per_class: instead of it, how many of each class, for each part of train_split. tfds
        only.
      train_crop: "resize", "random_resized", "scale_jitter", "frame" or "none"; see
        `crops.Cropper`. The crops are for folder and tfds.
      eval_crop: "center", "resize", "frame" or "none".
      resize: short side in pixels before the centre crop; 0 is image_size × 256/224.
      scale_range: least and greatest short side of "scale_jitter", in pixels.
      train_split: the TFDS split to train on, or several, "train+extra".
      test_split: the TFDS split to test on ("validation" for imagenet2012).
      whole_images: instead of the crop of evaluation every image as it is, for `views.with_views`;
        `image_shape` stays that of the network's images.

    Raises:
      UserError: an unknown kind or split, an impossible size, or data that are missing or not as
        the kind wants them.
    """
    for field, value, known in [("data kind", kind, KINDS), ("split", split, SPLITS)]:
        if value not in known:
            raise UserError(f"{field} {value!r} does not exist: {nearest(value, known)}")
    for field, number, least in [
        ("image_size", image_size, 1),
        ("channels", channels, 1),
        ("holdout", holdout, 0),
    ]:
        if number < least:
            raise UserError(f"{field}={number} is too small: {least} or more")
    if holdout_per_class and (kind != "tfds" or holdout or min(holdout_per_class) < 0):
        raise UserError(
            f"holdout_per_class={tuple(holdout_per_class)} is for kind=tfds without holdout, and"
            " none of its numbers is below 0"
        )
    if kind == "synthetic":
        from jaxcnn.data.synthetic import load_synthetic

        return load_synthetic(
            split,
            image_size=image_size,
            channels=channels,
            num_classes=num_classes,
            num_examples=num_examples,
            holdout=holdout,
        )

    from jaxcnn.data.images.transforms import Cropper, WholeImage

    low, high = scale_range
    crop = Cropper(image_size, channels, train_crop, eval_crop, resize, (low, high))
    cropper = WholeImage(image_size, channels) if whole_images else crop
    if kind == "digits":
        from jaxcnn.data.digits import load_digits

        return load_digits(split, image_size=image_size, channels=channels, holdout=holdout)
    if kind == "folder":
        from jaxcnn.data.folder import load_folder

        return load_folder(split, dir=dir, cropper=cropper, holdout=holdout)
    from jaxcnn.data.tfds import load_tfds

    return load_tfds(
        split,
        name=name,
        dir=dir,
        cropper=cropper,
        holdout=holdout,
        holdout_per_class=holdout_per_class,
        train_split=train_split,
        test_split=test_split,
    )
