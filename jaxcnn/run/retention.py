"""Which checkpoints of a run stay: the newest, the best by a metric, those of chosen steps."""

import contextlib
import errno
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from jaxcnn.errors import EXIT_WORKDIR, UserError, reason, system_errno
from jaxcnn.run import checkpoint_files, distributed

CURES = {errno.ENOSPC: "free space", errno.EDQUOT: "free space", errno.EROFS: "make it writable"}
ASIDE = ".replaced"  # ends the name of a checkpoint while another one of its step is written

KEPT = "kept"  # in the metadata of a checkpoint that is never deleted
MOST_DELETED = 20  # times in a row that a step was deleted while it was read


class Retention:
    """The steps that a run has checkpoints of, each with its value of the metric.

    It is a policy of Orbax's manager, which asks it at every save.

    Args:
      keep_latest: how many of the newest to keep; at least one.
      keep_best: how many of the best to keep, the newest of equals.
      metric: higher is better.

    Attributes:
      values: step → value, -inf where the step was not evaluated by this metric.
    """

    def __init__(self, keep_latest: int, keep_best: int, metric: str):
        self.values: dict[int, float] = {}
        self._forever: set[int] = set()  # as the checkpoints say, not the config
        self._keep = (max(keep_latest, 1), keep_best)
        self._metric = metric

    def add(self, step: int, metrics: dict[str, float], meta: Mapping[str, Any]) -> None:
        """Takes a step."""
        if meta.get(KEPT) is True:
            self._forever.add(step)
        value = metrics.get(self._metric, -math.inf)
        self.values[step] = value if math.isfinite(value) else -math.inf

    def read(self, directory: Path) -> "Retention":
        """Takes the steps of a directory instead of all before; returns itself."""
        for _ in range(MOST_DELETED):
            self.values = {}
            steps = checkpoint_files.steps(directory)
            for step in steps:
                self.values[step] = -math.inf
                with contextlib.suppress(OSError, ValueError):  # said where the step itself is read
                    described = checkpoint_files.describe(directory, step)
                    self.add(step, described.metrics, described.meta)
            if set(steps) <= set(checkpoint_files.steps(directory)):
                break
        return self

    def latest(self) -> int | None:
        """Returns the newest step."""
        return max(self.values, default=None)

    def best(self) -> tuple[float, int | None]:
        """Returns the highest value and the newest step that has it; (-inf, None) without any."""
        value, step = max(((v, s) for s, v in self.values.items()), default=(-math.inf, None))
        return (value, step) if value > -math.inf else (value, None)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns the checkpoints that Orbax keeps; other folders stay too."""
        del context
        latest, best = self._keep
        measured = [(value, step) for step, value in self.values.items() if value > -math.inf]
        ranked = [step for _, step in sorted(measured, reverse=True)]
        kept = {*sorted(self.values)[-latest:], *ranked[:best], *self._forever & self.values.keys()}
        dropped = self.values.keys() - kept
        self.values = {step: self.values[step] for step in kept}
        return [info.step not in dropped for info in checkpoints]


def set_aside(directory: Path, step: int) -> None:
    """Gives a checkpoint another name, for one of the same step that is about to be written."""
    if distributed.is_main_process():
        (directory / str(step)).rename(directory / f"{step}{ASIDE}")
    distributed.barrier(f"aside-{step}")


def end_replacement(directory: Path) -> None:
    """Deletes what was set aside if its successor is whole, and else takes it back."""
    for path in directory.glob(f"*{ASIDE}") if distributed.is_main_process() else ():
        successor = path.with_name(path.name.removesuffix(ASIDE))
        if successor.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(successor)


def open_manager(
    directory: Path, retention: Retention, items: Iterable[str]
) -> ocp.CheckpointManager:
    """Returns Orbax's manager of a directory, for saving.

    Args:
      directory: exists.
      retention: decides which checkpoints are deleted.
      items: names of the JSON items saved with the state.
    """
    handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
    handlers.add("state", ocp.args.StandardSave, ocp.StandardCheckpointHandler())
    for item in items:
        handlers.add(item, ocp.args.JsonSave, ocp.JsonCheckpointHandler())
    return ocp.CheckpointManager(
        directory,
        options=ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: 0.0,  # without one Orbax writes no metrics
            preservation_policy=retention,
            lightweight_initialize=True,  # else it reads all metrics, and fails at a damaged one
            todelete_subdir="trash",  # a rename: a killed deletion leaves no half of a step
        ),
        handler_registry=handlers,
    )


def unwritable(directory: Path, error: Exception) -> UserError:
    """Returns what to raise where checkpoints cannot be written."""
    cure = CURES.get(system_errno(error) or 0, "fix this")
    return UserError(
        f"cannot write checkpoints to {directory}: {reason(error)}; {cure}, then start the run"
        " again: it continues from the last intact checkpoint",
        EXIT_WORKDIR,
    )
