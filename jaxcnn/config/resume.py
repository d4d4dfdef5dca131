"""Checks that a run continues with the same data and with a config that changes no number."""

from pathlib import Path
from typing import Any

import flax

from jaxcnn.config import config_dict
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.contents import differences
from jaxcnn.errors import UserError

# Fields and sections that do not affect the numbers of a run.
FREE_TO_CHANGE = (
    "allow_change",
    "checkpoint",
    "data.cache",
    "data.dir",
    "data.max_bad_fraction",
    "data.num_workers",
    "debug_nans",
    "eval.batch_size",
    "eval.protocol",
    "eval.scales",
    "log",
    "model.overrides.remat",
    "model.overrides.scan_units",
    "train.max_skipped",
    "train.steps_per_call",
    "train.watchdog_seconds",
)


def check_unchanged(config: RunConfig, saved: dict[str, Any], where: str) -> None:
    """Refuses to continue a run with a config that would change its numbers.

    Args:
      config: config of the new process; `allow_change` names fields that may differ.
      saved: config of the run that is continued.
      where: origin of `saved`, for the message.

    Raises:
      UserError: if fields differ; the message lists them.
    """
    allowed = _allowed(config)
    here = flat(config_dict.to_saved(config))
    there = flat(config_dict.to_saved(config_dict.from_saved(saved))) | config_dict.unknown_fields(
        saved
    )

    def is_free(name: str) -> bool:
        # A plateau counts evaluations, and recalibration before an evaluation changes the saved
        # state.
        counted = config.schedule.name == "plateau" or config.eval.recalibrate_batches
        if name == "eval.every" and not counted:
            return True
        return any(
            name == free or name.startswith(f"{free}.") for free in (*FREE_TO_CHANGE, *allowed)
        )

    differing = [
        f"{name} {there.get(name, 'unset')} → {here.get(name, 'unset')}"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name) and not is_free(name)
    ]
    if differing:
        names = ",".join(difference.split(" ", 1)[0] for difference in differing)
        raise UserError(
            f"{where} was started with a different config: {'; '.join(differing)}. Use another"
            f" --workdir, or continue anyway with --config.allow_change={names}"
        )


def check_data(
    config: RunConfig, saved: dict[str, Any] | None, contents: dict[str, Any], where: Path
) -> None:
    """Raises an error if the data differ from those at the start of the run.

    Args:
      config: config of the new process; "data" in its `allow_change` allows any data.
      saved: contents of the splits in its checkpoint; None if the run recorded none.
      contents: contents of the present splits.
      where: the workdir, for the message.

    Raises:
      UserError: if the data differ; the message has the differences.
    """
    if saved is None or "data" in _allowed(config):
        return
    if found := differences(saved, contents):
        raise UserError(
            f"{where} was started with different data: {'; '.join(found)}. Use another --workdir,"
            " or continue anyway with --config.allow_change=data"
        )


def _allowed(config: RunConfig) -> list[str]:
    return [name.strip() for name in config.allow_change.split(",") if name.strip()]


def flat(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a saved config by full name, such as "train.length"."""
    return flax.traverse_util.flatten_dict(saved, sep=".")
