"""Decides which checkpoints are kept: the newest, the best by a metric, and chosen steps."""

import contextlib
import errno
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from jaxcnn.errors import EXIT_WORKDIR, UserError, reason, system_errno
from jaxcnn.run import distributed
from jaxcnn.run.checkpoint import checkpoint_files

CURES = {errno.ENOSPC: "free space", errno.EDQUOT: "free space", errno.EROFS: "make it writable"}
ASIDE = ".replaced"  # suffix of a checkpoint while its replacement is written

KEPT = "kept"  # metadata key of a checkpoint that is never deleted
MOST_DELETED = 20  # reads in a row during which a step was deleted


class Retention:
    """The steps of a run's checkpoints with their metric.

    A preservation policy that Orbax's manager calls at every save.

    Args:
      keep_latest: number of newest checkpoints to keep, at least one.
      keep_best: number of best checkpoints to keep, the newest of equals.
      metric: name of the metric; higher is better.

    Attributes:
      values: step → metric, -inf if this metric was not evaluated at the step.
    """

    def __init__(self, keep_latest: int, keep_best: int, metric: str):
        self.values: dict[int, float] = {}
        self._forever: set[int] = set()  # read from the checkpoints, not from the config
        self._keep = (max(keep_latest, 1), keep_best)
        self._metric = metric

    def add(self, step: int, metrics: dict[str, float], meta: Mapping[str, Any]) -> None:
        """Adds a step."""
        if meta.get(KEPT) is True:
            self._forever.add(step)
        value = metrics.get(self._metric, -math.inf)
        self.values[step] = value if math.isfinite(value) else -math.inf

    def read(self, directory: Path) -> "Retention":
        """Replaces the steps with those of a directory; returns itself."""
        for _ in range(MOST_DELETED):
            self.values = {}
            steps = checkpoint_files.steps(directory)
            for step in steps:
                self.values[step] = -math.inf
                with contextlib.suppress(OSError, ValueError):  # reported when the step is restored
                    described = checkpoint_files.describe(directory, step)
                    self.add(step, described.metrics, described.meta)
            if set(steps) <= set(checkpoint_files.steps(directory)):
                break
        return self

    def latest(self) -> int | None:
        """Returns the newest step, or None."""
        return max(self.values, default=None)

    def best(self) -> tuple[float, int | None]:
        """Returns the highest metric and the newest step that has it, or (-inf, None)."""
        value, step = max(((v, s) for s, v in self.values.items()), default=(-math.inf, None))
        return (value, step) if value > -math.inf else (value, None)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns which checkpoints Orbax keeps; folders that are not in `values` are kept too."""
        del context
        latest, best = self._keep
        measured = [(value, step) for step, value in self.values.items() if value > -math.inf]
        ranked = [step for _, step in sorted(measured, reverse=True)]
        kept = {*sorted(self.values)[-latest:], *ranked[:best], *self._forever & self.values.keys()}
        dropped = self.values.keys() - kept
        self.values = {step: self.values[step] for step in kept}
        return [info.step not in dropped for info in checkpoints]


def set_aside(directory: Path, step: int) -> None:
    """Renames a checkpoint before another one of the same step is written."""
    if distributed.is_main_process():
        (directory / str(step)).rename(directory / f"{step}{ASIDE}")
    distributed.barrier(f"aside-{step}")


def end_replacement(directory: Path) -> None:
    """Deletes a renamed checkpoint if its replacement is whole; otherwise renames it back."""
    for path in directory.glob(f"*{ASIDE}") if distributed.is_main_process() else ():
        successor = path.with_name(path.name.removesuffix(ASIDE))
        if successor.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(successor)


def open_manager(
    directory: Path, retention: Retention, items: Iterable[str]
) -> ocp.CheckpointManager:
    """Returns an Orbax manager that saves to a directory.

    Args:
      directory: an existing directory.
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
            best_fn=lambda metrics: 0.0,  # without it Orbax writes no metrics
            preservation_policy=retention,
            lightweight_initialize=True,  # otherwise it reads all metrics and fails at damaged ones
            todelete_subdir="trash",  # renames: a killed deletion leaves no partial step
        ),
        handler_registry=handlers,
    )


def unwritable(directory: Path, error: Exception) -> UserError:
    """Returns the error to raise if checkpoints cannot be written."""
    cure = CURES.get(system_errno(error) or 0, "fix this")
    return UserError(
        f"cannot write checkpoints to {directory}: {reason(error)}; {cure}, then start the run"
        " again: it continues from the last intact checkpoint",
        EXIT_WORKDIR,
    )
