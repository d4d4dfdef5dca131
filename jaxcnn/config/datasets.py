"""Data sets by name: their config fields, which are the same for all networks."""

from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from jaxcnn.config.schema import RunConfig
from jaxcnn.io import paths

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _digits(config: ConfigDict) -> None:
    config.data.update(kind="digits", image_size=32, channels=1, mean=(0.305,), std=(0.34,))


def _glyphs(config: ConfigDict) -> None:
    config.data.update(kind="glyphs", image_size=32, channels=3, mean=(0.29,), std=(0.21,))


def _synthetic(config: ConfigDict) -> None:
    config.data.update(kind="synthetic", image_size=32, channels=3)


def _folder(config: ConfigDict) -> None:
    config.data.update(kind="folder", image_size=224, num_workers=4, flip=True)
    config.data.update(train_crop="random_resized", eval_crop="center")
    config.data.update(mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _imagenet2012(config: ConfigDict) -> None:
    _folder(config)
    config.data.update(kind="tfds", name="imagenet2012", test_split="validation", num_classes=1000)
    config.data.update(num_workers=16)
    config.log.every = "100steps"


def _small_tfds(
    name: str, num_classes: int, mean: tuple[float, ...], std: tuple[float, ...], size: int = 32
) -> Callable[[ConfigDict], None]:
    def preset(config: ConfigDict) -> None:
        config.data.update(kind="tfds", name=name, image_size=size, channels=len(mean))
        config.data.update(train_crop="none", eval_crop="none", mean=mean, std=std)
        config.data.update(num_classes=num_classes, num_workers=2)
        config.log.every = "100steps"

    return preset


# Number of training examples held out as split "validation", for runs that depend on evaluations.
HOLDOUTS = {
    "digits": 144,
    "glyphs": 216,
    "synthetic": 256,
    "imagenet2012": 10_000,
    "mnist": 5_000,
    "fashion_mnist": 5_000,
    "svhn": 6_000,
    "cifar10": 5_000,
    "cifar100": 5_000,
}

DATASETS: dict[str, Callable[[ConfigDict], None]] = {
    "digits": _digits,
    "glyphs": _glyphs,
    "synthetic": _synthetic,
    "folder": _folder,
    "imagenet2012": _imagenet2012,
    "mnist": _small_tfds("mnist", 10, (0.1307,), (0.3081,), size=28),
    "fashion_mnist": _small_tfds("fashion_mnist", 10, (0.2860,), (0.3530,), size=28),
    "svhn": _small_tfds("svhn_cropped", 10, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": _small_tfds("cifar10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _small_tfds("cifar100", 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def data_label(config: RunConfig) -> str:
    """Returns the data part of the default workdir name: the data set or its folder."""
    section = config.data
    if section.kind == "folder" and section.dir:
        return Path(paths.expand(section.dir)).resolve().name or config.dataset
    if ":" in section.kind:
        return section.kind.partition(":")[0]
    if section.kind == "tfds" and config.dataset not in DATASETS:
        return section.name.replace("/", "-").replace(":", "-") or config.dataset
    return config.dataset or section.kind
