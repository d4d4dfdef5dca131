"""Shows the resolved config of a command line field by field, for `--mode=show`."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from jaxcnn.config import config_dict, datasets
from jaxcnn.config.schema import DOCS, OVERRIDES, RunConfig, values_of

DEFAULT, DATASET, RECIPE, FLAG = "default", "data set", "recipe", "flag"


class Shown(NamedTuple):
    """One field: full name, value, origin of the value, and documentation."""

    name: str
    value: object
    origin: str
    doc: str


def fields(config: RunConfig, flagged: Collection[str]) -> Iterator[Shown]:
    """Yields the fields of a config in the order of `RunConfig`.

    Args:
      config: config of the command line.
      flagged: full names of the fields set on the command line.
    """
    plain, preset = RunConfig(), config_dict.base_config()
    if config.dataset in datasets.DATASETS:
        datasets.DATASETS[config.dataset](preset)
    of_dataset = values_of(config_dict.freeze(preset))
    of_default = values_of(plain)
    for name, value in values_of(config).items():
        if f"{name}." == OVERRIDES:
            for own, given in config.model.overrides.items():
                full = OVERRIDES + own
                yield Shown(full, given, FLAG if full in flagged else RECIPE, DOCS[name])
            continue
        if name in flagged:
            origin = FLAG
        elif value == of_default[name]:
            origin = DEFAULT
        else:
            of_data = name == "dataset" or value == of_dataset[name]
            origin = DATASET if of_data else RECIPE
        yield Shown(name, value, origin, DOCS[name])


def table(config: RunConfig, flagged: Collection[str]) -> str:
    """Returns one line per field: name = value, origin, documentation; see `fields`."""
    rows = [(f"{one.name} = {one.value!r}", one.origin, one.doc) for one in fields(config, flagged)]
    width = min(max(len(row[0]) for row in rows), 48)
    return "\n".join(f"{given:<{width}}  {origin:<8}  {doc}" for given, origin, doc in rows)
