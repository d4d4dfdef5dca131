"""Configs: every field with its default, and data-set presets; `recipes` has the papers' values.

Lengths are texts such as "90epochs", "64000steps" or "never". Learning rates are given for
`schedule.reference_batch`.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax
from ml_collections import ConfigDict

from jaxcnn.config import schema
from jaxcnn.config.renamed import RENAMED, with_new_names
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError, nearest
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
    """Returns a config as immutable data, its values checked.

    Raises:
      UserError: naming the first wrong value and the values that are allowed.
    """
    return schema.changed(RunConfig(), flatten(config))


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of a config by their full names, `train.length` for example."""
    flat = flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
    empty = flax.traverse_util.empty_node
    return {field: {} if value is empty else _tuples(value) for field, value in flat.items()}


def set_field(config: ConfigDict, name: str, value: Any) -> None:
    """Sets a field by its full name.

    Raises:
      UserError: if there is no such field; `model.overrides` takes any.
    """
    *sections, last = name.split(".")
    for number, section in enumerate(sections):
        if section not in config:
            raise UserError(f"{name}: {nearest(section, config)}")
        config = config[section]
        if not isinstance(config, ConfigDict):
            raise UserError(f"{name}: {'.'.join(sections[: number + 1])} is not a section")
    if last not in config and sections != ["model", "overrides"]:
        instead = schema.instead_of(name) if name in RENAMED else nearest(last, config)
        raise UserError(f"the config has no field {name!r}: {instead}")
    with config.ignore_type():
        config[last] = value


def data_label(config: RunConfig) -> str:
    """Returns the data part of the default workdir's name: the data set, or its folder."""
    section = config.data
    if section.kind == "folder" and section.dir:
        return Path(paths.expand(section.dir)).resolve().name or config.dataset
    if ":" in section.kind:
        return section.kind.partition(":")[0]
    if section.kind == "tfds" and config.dataset not in DATASETS:
        return section.name.replace("/", "-").replace(":", "-") or config.dataset
    return config.dataset or section.kind


get_config = base_config  # for the command line, where a workdir says the rest


def from_saved(saved: dict[str, Any]) -> RunConfig:
    """Returns the config of a workdir; fields that it does not have yet get their defaults.

    Fields with a former name get their present one (`renamed`). Other fields that this version does
    not have are left out, which the log says.

    Raises:
      UserError: for a value that a field cannot have.
      TypeError: for a section that is none.
    """
    unknown = unknown_fields(saved)
    if unknown:
        LOG.warning(
            "the saved config has fields that this version of jaxcnn does not have, which are left"
            " out: %s",
            ", ".join(f"{name}={value!r}" for name, value in unknown.items()),
        )
    values = flax.traverse_util.flatten_dict(_tuples(with_new_names(saved)), sep=".")
    for name in values.copy():
        if any(name == other or name.startswith(f"{other}.") for other in unknown):
            del values[name]
    return schema.changed(RunConfig(), values)


def unknown_fields(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a saved config that do not exist, by their full names.

    A former name of a field is none of them.

    Raises:
      TypeError: for a section that is none.
    """
    return dict(_unknown(RunConfig, with_new_names(saved), ""))


def _unknown(section: Any, values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        raise TypeError(f"{prefix.rstrip('.') or 'the config'} is not a section of fields")
    fields = {one.name: one.type for one in dataclasses.fields(section)}
    for key, value in values.items():
        kind = fields.get(key)
        if key not in fields:
            yield f"{prefix}{key}", value
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _unknown(kind, value, f"{prefix}{key}.")
        elif f"{prefix}{key}" == "model.overrides" and not isinstance(value, dict):
            raise TypeError("model.overrides is not a section of fields")


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if hasattr(value, "_fields"):  # a NamedTuple, as the rows of the Inception networks
        return value
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def to_saved(config: RunConfig) -> dict[str, Any]:
    """Returns a config as JSON values (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


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
