"""Configs: every field with its default, and data-set presets; `recipes` has the papers' values.

Lengths are texts such as "90epochs", "64000steps" or "never". Learning rates are given for
`schedule.reference_batch`.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax
from ml_collections import ConfigDict

from jaxcnn.config import schema
from jaxcnn.config.schema import RunConfig
from jaxcnn.io import paths

LOG = logging.getLogger("jaxcnn")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def base_config() -> ConfigDict:
    """Returns every field of `schema.RunConfig` with its default, for recipes to change."""
    return _mutable(RunConfig())


def _mutable(section: Any) -> ConfigDict:
    values = {one.name: getattr(section, one.name) for one in dataclasses.fields(section)}
    return ConfigDict(
        {
            name: _mutable(value) if dataclasses.is_dataclass(value) else value
            for name, value in values.items()
        }
    )


def freeze(config: ConfigDict) -> RunConfig:
    """Returns a config whose values have been checked, as plain immutable data.

    Raises:
      UserError: naming the first value that is not as it should be, and what it should be.
    """
    check(config)
    return _frozen(RunConfig, config.to_dict())


def _frozen(section: type, values: Mapping[str, Any]) -> Any:
    parts = {}
    for one in dataclasses.fields(section):
        value = values[one.name]
        parts[one.name] = (
            _frozen(one.type, value)
            if isinstance(one.type, type) and dataclasses.is_dataclass(one.type)
            else _tuples(value)
        )
    return section(**parts)


def check(config: ConfigDict) -> None:
    """Checks the values of a config; see `schema.check`."""
    schema.check(flatten(config))


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of a config by their full names, `train.length` for example."""
    flat = flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
    empty = flax.traverse_util.empty_node
    return {field: {} if value is empty else value for field, value in flat.items()}


def data_label(config: ConfigDict) -> str:
    """Returns what the default workdir is called by: the data set, or the name of its folder."""
    section = config.data
    if section.kind == "folder" and section.dir:
        return Path(paths.expand(section.dir)).resolve().name or config.dataset
    if section.kind == "tfds" and config.dataset not in DATASETS:
        return section.name.replace("/", "-").replace(":", "-") or config.dataset
    return config.dataset


get_config = base_config  # for the command line, where a workdir says the rest


def from_saved(saved: dict[str, Any]) -> ConfigDict:
    """Returns the config of a workdir; fields that it does not have yet get their defaults.

    Fields that this version does not have are left out, which the log says.
    """
    config = base_config()
    unknown = unknown_fields(saved)

    def fill(section: ConfigDict, values: dict[str, Any], prefix: str = "") -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict) and isinstance(section.get(key), ConfigDict):
                fill(section[key], value, f"{name}.")
            elif name not in unknown:
                section[key] = _tuples(value)

    fill(config, saved)
    if unknown:
        LOG.warning(
            "the saved config has fields that this version of jaxcnn does not have, which are left"
            " out: %s",
            ", ".join(f"{name}={value!r}" for name, value in unknown.items()),
        )
    return config


def unknown_fields(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a saved config that there are not, by their full names."""
    found: dict[str, Any] = {}

    def look(section: ConfigDict, values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if key not in section:
                found[name] = value
            elif isinstance(value, dict) and name != "model.overrides":
                look(section[key], value, f"{name}.")

    look(base_config(), saved, "")
    return found


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def to_saved(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as JSON values (tuples become lists)."""
    return json.loads(config.to_json())


# Data sets --------------------------------------------------------------------------------------


def _digits(config: ConfigDict) -> None:
    config.data.update(kind="digits", image_size=32, channels=1, mean=(0.305,), std=(0.34,))


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


# Training examples that are held out, as split "validation", of runs that change by evaluations.
HOLDOUTS = {
    "digits": 144,
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
    "synthetic": _synthetic,
    "folder": _folder,
    "imagenet2012": _imagenet2012,
    "mnist": _small_tfds("mnist", 10, (0.1307,), (0.3081,), size=28),
    "fashion_mnist": _small_tfds("fashion_mnist", 10, (0.2860,), (0.3530,), size=28),
    "svhn": _small_tfds("svhn_cropped", 10, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": _small_tfds("cifar10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _small_tfds("cifar100", 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
