"""The section `data` of a config, but for augmentation, whose fields are in `augmentation/`."""

import dataclasses
from typing import Any

from jaxcnn.config import spec

KINDS = ("digits", "glyphs", "synthetic", "folder", "tfds")
TRAIN_CROPS = ("resize", "random_resized", "scale_jitter", "frame", "none")
EVAL_CROPS = ("center", "resize", "frame", "none")
INTERPOLATIONS = ("bilinear", "bicubic")
PREPROCESSINGS = ("channels", "mean_image", "gcn", "zca")


def _check_kind(value: Any) -> str:
    own = isinstance(value, str) and ":" in value and value.isprintable()
    return "" if own else spec.choice(*KINDS)(value)


@dataclasses.dataclass(frozen=True)
class DatasetConfig(spec.Section):
    """Part of the section `data`: the choice of examples."""

    kind: str = spec.field(
        "digits", f"{' | '.join(KINDS)}, or MODULE:FUNCTION of your own", _check_kind
    )
    name: str = spec.field("", "tfds only: name of the data set, such as cifar10", spec.text)
    dir: str = spec.field(
        "", "folder and tfds only: where the data are; '' is TFDS's default folder", spec.text
    )
    num_classes: int = spec.field(10, "synthetic only: number of classes", spec.whole(2, 10**6))
    num_examples: int = spec.field(
        2048, "glyphs and synthetic only: images of each split", spec.whole(1, 10**9)
    )
    train_split: str = spec.field(
        "train", "tfds only: training split, or several such as train+extra", spec.name
    )
    test_split: str = spec.field("test", "tfds only: test split", spec.name)
    holdout: int = spec.field(
        0,
        "training examples held out as the split validation, evaluated during training; of a"
        " folder of class folders as the split test",
        spec.count,
    )
    holdout_per_class: tuple[int, ...] = spec.field(
        (),
        "tfds only, instead of holdout: examples of each class, for each part of train_split",
        spec.several(spec.count),
    )


@dataclasses.dataclass(frozen=True)
class CropConfig(spec.Section):
    """Part of the section `data`: crops of image files; see `Cropper`."""

    image_size: int = spec.field(32, "height and width of training images, pixels", spec.side)
    eval_image_size: int = spec.field(
        0,
        "height and width of evaluation images, for networks that take any size; 0: image_size",
        spec.side_or_none,
    )
    channels: int = spec.field(
        3, "1 (grey) | 3 (RGB); synthetic images have any number", spec.whole(1, 1024)
    )
    train_crop: str = spec.field("resize", " | ".join(TRAIN_CROPS), spec.choice(*TRAIN_CROPS))
    eval_crop: str = spec.field("resize", " | ".join(EVAL_CROPS), spec.choice(*EVAL_CROPS))
    resize: int = spec.field(
        0, "short side before the centre crop, pixels; 0: image_size x 256/224", spec.side_or_none
    )
    interpolation: str = spec.field(
        "bilinear",
        "how crops are resized: " + " | ".join(INTERPOLATIONS),
        spec.choice(*INTERPOLATIONS),
    )
    scale_range: tuple[int, int] = spec.field(
        (256, 480),
        "scale_jitter only: smallest and largest short side, pixels",
        spec.several(spec.side, least=2, most=2),
    )


@dataclasses.dataclass(frozen=True)
class LoadConfig(CropConfig, DatasetConfig):
    """Part of the section `data`: the choice of examples and their size."""


@dataclasses.dataclass(frozen=True)
class CacheConfig(spec.Section):
    """Part of the section `data`: where decoded images are kept."""

    cache: str = spec.field(
        "auto",
        "where decoded images are kept that are the same in every epoch: memory (a file in the"
        " cache folder, mapped) | device (also on each device, where batches are gathered) | none |"
        " auto: up to 2 GiB, on accelerators that have room, else in memory",
        spec.choice("auto", "memory", "device", "none"),
    )


@dataclasses.dataclass(frozen=True)
class NormalizeConfig(spec.Section):
    """Part of the section `data`: the normalisation of uint8 pixels."""

    mean: tuple[float, ...] = spec.field(
        (0.5,),
        "mean of pixels in [0, 1], one number per channel or one for all",
        spec.several(spec.real(-1000, 1000), least=1, most=1024),
    )
    std: tuple[float, ...] = spec.field(
        (0.5,),
        "standard deviation, in the same form as mean",
        spec.several(spec.real(1e-6, 1000), least=1, most=1024),
    )
    preprocess: str = spec.field(
        "channels",
        "channels: (x - mean) / std | mean_image: the training split's mean image instead of mean |"
        " gcn: contrast of each image normalised | zca: gcn, then whitened",
        spec.choice(*PREPROCESSINGS),
    )
    gcn_scale: float = spec.field(55.0, "gcn and zca only: norm of each image", spec.positive)
    zca_epsilon: float = spec.field(0.1, "zca only: added to the variances", spec.positive)


@dataclasses.dataclass(frozen=True)
class BatchConfig(spec.Section):
    """Part of the section `data`: how examples are combined into batches."""

    labelled: int = spec.field(
        0,
        "training examples whose labels are used, balanced over classes and chosen by the seed;"
        " 0: all",
        spec.count,
    )
    unlabelled_per_labelled: int = spec.field(
        0,
        "unlabelled rows after each labelled row of a batch, from all examples; an epoch is one"
        " pass over them. 0: labelled examples alone",
        spec.whole(0, 10_000),
    )
    repeats: int = spec.field(
        1,
        "views of each example in a batch; an epoch keeps its number of rows",
        spec.whole(1, 10_000),
    )
    num_workers: int = spec.field(
        0, "processes that decode images; 0: threads of this process", spec.whole(0, 1024)
    )
    max_bad_fraction: float = spec.field(
        0.001, "fraction of images that may be unreadable before the run stops", spec.share
    )


def _stage(value: Any) -> str:
    """Checks a pair (fraction of the run, image size)."""
    fits = isinstance(value, tuple | list) and len(value) == 2
    if (
        fits
        and not spec.real(0, 1, below=True)(value[0])
        and not spec.whole(1, spec.LARGEST_SIDE)(value[1])
    ):
        return ""
    return f"(share of the run below 1, size to {spec.LARGEST_SIDE}), as (0.5, 224)"


@dataclasses.dataclass(frozen=True)
class SizeConfig(spec.Section):
    """Part of the section `data`: sizes of the training images that change during a run."""

    size_schedule: tuple[tuple[float, int], ...] = spec.field(
        (),
        "image sizes that change during training: pairs (fraction of the run, size from there on),"
        " such as ((0.0, 128), (0.5, 224)); () is image_size throughout",
        spec.several(_stage),
    )
