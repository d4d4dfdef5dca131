"""The typed config `RunConfig` with all its sections.

Each folder declares its fields in its `fields.py`, and augmentation beside its operations.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxcnn.config import spec
from jaxcnn.config.renamed import RENAMED
from jaxcnn.data.augmentation.augment import AugmentConfig
from jaxcnn.data.augmentation.mixup import MixupConfig
from jaxcnn.data.fields import BatchConfig, CacheConfig, LoadConfig, NormalizeConfig, SizeConfig
from jaxcnn.errors import UserError, nearest
from jaxcnn.evaluation.fields import EvalConfig
from jaxcnn.models.fields import ModelConfig
from jaxcnn.run.fields import CheckpointConfig, LogConfig, RunFields
from jaxcnn.training.fields import LossConfig, OptimizerConfig, ScheduleConfig, TrainConfig

LARGEST_ARRAY = 2**36  # bytes of a batch or of a synthetic split
LARGEST_OVERRIDE = 100_000  # largest value of a network field
MOST_UNITS = 2000  # units of a network; tracing more takes minutes, and our deepest has 600
DEPTHS = ("bases", "depth", "stage_sizes")
OVERRIDES = "model.overrides."


@dataclasses.dataclass(frozen=True)
class DataConfig(
    SizeConfig, BatchConfig, MixupConfig, AugmentConfig, NormalizeConfig, CacheConfig, LoadConfig
):
    """Section `data`."""


@dataclasses.dataclass(frozen=True)
class RunConfig(RunFields):
    """Every field of a run. Lengths are texts such as "90epochs", "64000steps" or "never"."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)


def fields_of(section: type, prefix: str = "") -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """Yields (full name, field) of a section and its subsections, such as "train.length"."""
    for one in dataclasses.fields(section):
        if isinstance(one.type, type) and dataclasses.is_dataclass(one.type):
            yield from fields_of(one.type, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, one


FIELDS = dict(fields_of(RunConfig))  # by full name
CHECKS: dict[str, spec.Check] = {
    name: one.metadata["check"] for name, one in FIELDS.items() if "check" in one.metadata
}
DOCS: dict[str, str] = {name: one.metadata["doc"] for name, one in FIELDS.items()}


def values_of(config: RunConfig) -> dict[str, Any]:
    """Returns the values of a config by full name."""

    def value_of(name: str) -> Any:
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        return value

    return {name: value_of(name) for name in FIELDS}


def changed(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Returns a config with new values of some fields, after checking them.

    Args:
      config: the config, which is not changed.
      values: values by full name; those of `model.overrides` are added to it.

    Raises:
      UserError: if a field does not exist, or a value is not valid.
    """
    values = {name: value for name, value in values.items() if name != "model.overrides"}
    own = {OVERRIDES + name: value for name, value in config.model.overrides.items()}
    whole = values_of(config) | own | values
    check(whole)
    sections: dict[str, dict[str, Any]] = {"": {}, "model": {}}
    for name in values:
        section, _, field = name.rpartition(".")
        if not name.startswith(OVERRIDES):
            sections.setdefault(section, {})[field] = values[name]
    sections["model"]["overrides"] = {
        name.removeprefix(OVERRIDES): value
        for name, value in whole.items()
        if name.startswith(OVERRIDES)
    }
    top = sections.pop("")
    parts = {
        section: dataclasses.replace(getattr(config, section), **fields)
        for section, fields in sections.items()
    }
    return dataclasses.replace(config, **top, **parts)


def check(values: Mapping[str, Any]) -> None:
    """Checks the values of a config, first separately, then together.

    Args:
      values: values by full name.

    Raises:
      UserError: if a value is wrong; the message has the first one and the allowed values.
    """
    for field, value in values.items():
        if field.startswith(OVERRIDES):
            _check_override(field, value)
        elif field in CHECKS:
            if wanted := CHECKS[field](value):
                raise UserError(f"{field}={spec.shown(value)} is not {wanted}")
        elif field != "model.overrides":
            raise UserError(f"the config has no field {field!r}: {instead_of(field)}")
    _check_together(values)


def instead_of(field: str) -> str:
    """Returns a suggestion for a field that does not exist, given by full name."""
    if field in RENAMED:
        return f"it is called {RENAMED[field]} now"
    return nearest(field, CHECKS)


def _check_override(field: str, value: Any) -> None:
    own = field.removeprefix(OVERRIDES).split(".")[0]
    if own in ("num_classes", "dtype", "name", "parent"):
        instead = {
            "num_classes": "the data say how many classes there are (data.num_classes)",
            "dtype": "set --config.model.dtype",
        }.get(own, "it is no field of a network")
        raise UserError(f"{field} cannot be set: {instead}")
    if re.search("survival_probability|_share$", own):
        check = spec.real(0, 1)
    elif re.search("dropout|drop_path", own):
        check = spec.decay
    elif own == "columns":  # each one doubles the depth of a FractalNet
        check = spec.whole(1, 10)
    elif own in DEPTHS:
        check = spec.whole(0, MOST_UNITS)
    else:
        check = spec.real(-LARGEST_OVERRIDE, LARGEST_OVERRIDE)
    numbers = [one for one in _leaves(value) if type(one) in (int, float)]
    if wanted := next(filter(None, map(check, numbers)), ""):
        part = "has a part that is not" if isinstance(value, tuple | list) else "is not"
        raise UserError(f"{field}={spec.shown(value)} {part} {wanted}")
    if own in DEPTHS and (units := sum(numbers)) > MOST_UNITS:
        raise UserError(
            f"{field}={spec.shown(value)} makes {units:,} units: {MOST_UNITS:,} at most"
        )


def _leaves(value: Any) -> Sequence[Any]:
    if isinstance(value, tuple | list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


def _check_together(values: Mapping[str, Any]) -> None:
    size, channels = values["data.image_size"], values["data.channels"]
    for field in ("data.mean", "data.std"):
        if len(values[field]) not in (1, channels):
            raise UserError(
                f"{field}={spec.shown(tuple(values[field]))} has {len(values[field])} numbers: give"
                f" 1 or as many as data.channels={channels}"
            )
    if values["data.scale_range"][0] > values["data.scale_range"][1]:
        raise UserError(f"data.scale_range={tuple(values['data.scale_range'])} must increase")
    if values["data.random_erasing_area"][0] > values["data.random_erasing_area"][1]:
        area = tuple(values["data.random_erasing_area"])
        raise UserError(f"data.random_erasing_area={area} must increase and lie between 0 and 1")
    image = size**2 * channels
    largest = {"train.batch_size": values["train.batch_size"]}
    if values["data.kind"] in ("glyphs", "synthetic"):
        largest["data.num_examples"] = values["data.num_examples"]
    for field, images in largest.items():
        if images * image > LARGEST_ARRAY:
            raise UserError(
                f"{field}={images} of {size}x{size}x{channels} are"
                f" {math.ceil(images * image / 2**30):,} GiB: lower it, or data.image_size"
            )
