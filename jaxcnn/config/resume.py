"""What a run may be continued with: its own config but for what changes no number, and its data."""

from pathlib import Path
from typing import Any

import flax

from jaxcnn.config import config_dict
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.contents import differences
from jaxcnn.errors import UserError

# Fields and sections that change no number.
FREE_TO_CHANGE = (
    "allow_change",
    "checkpoint",
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
      config: of the run that starts; its `allow_change` names fields or sections that may differ.
      saved: config of the run that is continued.
      where: for the message.

    Raises:
      UserError: listing what differs.
    """
    allowed = _allowed(config)
    here = flat(config_dict.to_saved(config))
    there = flat(config_dict.to_saved(config_dict.from_saved(saved))) | config_dict.unknown_fields(
        saved
    )

    def is_free(name: str) -> bool:
        # A plateau counts evaluations, and a recalibration before one changes what is saved.
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
      config: of the run that starts; "data" in its `allow_change` allows it.
      saved: contents of the splits, as its checkpoint has them; None of a run that kept none.
      contents: those of the data that are there.
      where: for the message.

    Raises:
      UserError: naming what differs.
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
    """Returns the fields of a saved config by their names, such as "train.length"."""
    return flax.traverse_util.flatten_dict(saved, sep=".")
