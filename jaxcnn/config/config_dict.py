"""Converts configs between ConfigDict (recipes, command line), JSON and the typed `RunConfig`.

`schema` declares the fields and their defaults. Lengths are texts such as "90epochs", "64000steps"
or "never". Learning rates are given for `schedule.reference_batch`.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any

import flax
from ml_collections import ConfigDict

from jaxcnn.config import schema
from jaxcnn.config.renamed import RENAMED, with_new_names
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError, nearest

LOG = logging.getLogger("jaxcnn")


def base_config() -> ConfigDict:
    """Returns every field of `schema.RunConfig` with its default; recipes change it."""
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
    """Returns a config as immutable data, after checking its values.

    Raises:
      UserError: if a value is wrong; the message has the first one and the allowed values.
    """
    return schema.changed(RunConfig(), flatten(config))


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of a config by full name, such as `train.length`."""
    flat = flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
    empty = flax.traverse_util.empty_node
    return {field: {} if value is empty else _tuples(value) for field, value in flat.items()}


def set_field(config: ConfigDict, name: str, value: Any) -> None:
    """Sets a field by its full name.

    Raises:
      UserError: if the field does not exist; `model.overrides` accepts any.
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


get_config = base_config  # for command lines whose config is in a workdir


def from_saved(saved: dict[str, Any]) -> RunConfig:
    """Returns the config of a workdir, with defaults for fields that it does not have.

    Former names of fields are converted (`renamed`). Other fields unknown to this version are
    dropped with a log message.

    Raises:
      UserError: if a value is not valid.
      TypeError: if a section is not a dictionary.
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
    """Returns the fields of a saved config that do not exist, by full name.

    Former names of fields are not included.

    Raises:
      TypeError: if a section is not a dictionary.
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
    if hasattr(value, "_fields"):  # a NamedTuple, as in the rows of the Inception networks
        return value
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def to_saved(config: RunConfig) -> dict[str, Any]:
    """Returns a config as JSON values; tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
