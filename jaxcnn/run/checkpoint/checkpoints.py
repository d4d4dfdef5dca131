"""Checkpoints, written by Orbax, with four operations: save, restore, latest, wait.

A checkpoint is one directory per step that appears whole or not at all (`run.checkpoint_files`).
One run writes, under the workdir's lock. Readers take no lock: a step that is deleted while it is
read does not count as damaged, and the newest remaining step is read instead.
"""

import contextlib
import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from jaxcnn.errors import (
    EXIT_BAD_DATA,
    EXIT_PEER_LOST,
    EXIT_WORKDIR,
    UserError,
    reason,
    system_errno,
)
from jaxcnn.io.append import flush, identity
from jaxcnn.run import distributed
from jaxcnn.run.checkpoint import checkpoint_files, retention
from jaxcnn.run.checkpoint.checkpoint_files import Description
from jaxcnn.run.checkpoint.retention import MOST_DELETED, Retention, open_manager, unwritable

LOG = logging.getLogger("jaxcnn")
ALLOWED_FAILURES = 3
UNWRITABLE = errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG
OF_DISKS = (*checkpoint_files.NOT_DAMAGE, *UNWRITABLE)


class Restored(NamedTuple):
    """A verified checkpoint: its step, its state as NumPy arrays, and its metadata."""

    step: int
    state: Any
    meta: dict[str, Any]


class Checkpoints:
    """Saves and restores the checkpoints of one workdir.

    Args:
      directory: the checkpoint directory; created if missing.
      keep_latest: number of newest checkpoints to keep.
      keep_best: number of best checkpoints to keep, by `metric`; may be 0.
      metric: a key of the metrics given to `save`; higher is better.
      read_only: whether to change nothing, not even damaged checkpoints or files of a killed run.

    Raises:
      UserError: if the directory cannot be created, or is a link.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_latest: int = 1,
        keep_best: int = 1,
        metric: str = "top1",
        read_only: bool = False,
    ):
        self._retention = Retention(keep_latest, keep_best, metric)
        self._failures = 0
        self._unflushed: int | None = None
        self._manager: Any = None  # Orbax's manager; None if read-only
        if not read_only:
            for path in (directory, directory / "trash"):
                if path.is_symlink():
                    raise UserError(
                        f"{path} is a link, and checkpoints are deleted there: make the workdir a"
                        " link instead, or choose another --workdir",
                        EXIT_WORKDIR,
                    )
        checkpoint_files.ignore_late_answers()
        self._directory = directory.resolve()
        if not read_only:
            try:
                retention.end_replacement(self._directory)
                self._manager = self._open()
            except OSError as error:
                raise unwritable(self._directory, error) from error
        self._identity = identity(self._directory)

    def _open(self) -> ocp.CheckpointManager:
        self._directory.mkdir(parents=True, exist_ok=True)
        if distributed.is_main_process():
            # Orbax's cleanup thread outlives a manager that is closed without a save, and may
            # delete files of the next one. The caller holds the workdir's lock.
            for path in self._directory.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(path, ignore_errors=True)
            for step in checkpoint_files.steps(self._directory):
                if problem := self._problem(step):
                    self._rename(step, problem)
        distributed.barrier("described")
        self._retention.read(self._directory)
        return open_manager(self._directory, self._retention, ("digests", "meta"))

    def _problem(self, step: int) -> str:
        try:
            checkpoint_files.describe(self._directory, step)
        except (OSError, ValueError) as error:
            if checkpoint_files.is_no_damage(error):
                raise
            return reason(error)
        return ""

    def _steps(self) -> Retention:
        """Returns the steps: of this run's writes, even if not yet on disk; else those on disk."""
        return self._retention if self._manager else self._retention.read(self._directory)

    def latest(self) -> int | None:
        """Returns the newest step, or None; a step that is still being written counts."""
        return self._steps().latest()

    def best(self) -> int | None:
        """Returns the newest step with the highest metric, or None if none was measured."""
        return self._steps().best()[1]

    def best_value(self) -> float:
        """Returns the highest metric, or -inf."""
        return self._steps().best()[0]

    def save(
        self,
        step: int,
        state: Any,
        meta: dict[str, Any],
        metrics: dict[str, float] | None = None,
        final: bool = False,
        again: bool = False,
    ) -> None:
        """Starts writing a checkpoint; `wait` blocks until it is written.

        Args:
          step: number of the step.
          state: a tree of NumPy arrays.
          meta: JSON with the config and a description of the run.
          metrics: results of the evaluation at this step, if there was one.
          final: whether this is the last save; it is waited for and must succeed.
          again: whether to replace the checkpoint of this step, which stays until the new one is
            whole.

        Raises:
          UserError: after several failures in a row, or if a final save failed; earlier failures
            are logged and the run continues. At once if the directory or another process is lost.
        """
        nested = checkpoint_files.nested(state)
        metrics = {key: float(value) for key, value in (metrics or {}).items()}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(nested),
            digests=ocp.args.JsonSave(checkpoint_files.digests(step, nested, meta, metrics)),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            self._wait()
        except Exception as error:
            self._fail(error, final=False)
        try:
            if again:
                retention.set_aside(self._directory, step)
                self._reopen()
            if self.latest() != step:  # an interrupted run may save a step twice
                self._start(step, items, metrics, meta)
            if final:
                self._wait()
        except Exception as error:
            self._fail(error, final)

    def _start(
        self, step: int, items: Any, metrics: dict[str, float], meta: dict[str, Any]
    ) -> None:
        self._check_place()
        if step < (self.latest() or 0):
            raise ValueError(f"declined to write step {step}, there is a later one")
        self._retention.add(step, metrics, meta)
        try:
            # Forced, because Orbax may count other files in the directory as later steps.
            if not self._manager.save(step, args=items, metrics=metrics or None, force=True):
                raise OSError(f"Orbax declined to write step {step}")
        except BaseException:
            self._retention.values.pop(step, None)
            raise
        self._unflushed = step

    def wait(self) -> None:
        """Waits until every checkpoint is on the disk.

        Raises:
          UserError: if a checkpoint could not be written.
        """
        try:
            self._wait()
        except Exception as error:
            self._fail(error, final=True)

    def close(self) -> None:
        """Stops Orbax's threads; logs a checkpoint that could not be written."""
        if self._manager is None:
            return
        try:
            self._manager.close()
        except Exception as error:
            if self._unflushed is not None:  # otherwise it was logged before
                LOG.warning("the last checkpoint was not written: %s", reason(error))

    def describe(self, choice: str | int = "latest") -> Description | None:
        """Returns the description of a checkpoint; None if no checkpoint is intact.

        Args:
          choice: see `restore`, which also reports damaged checkpoints.
        """
        for _ in range(MOST_DELETED):
            steps = self._candidates(choice)
            for step in steps:
                with contextlib.suppress(OSError, ValueError):
                    return checkpoint_files.describe(self._directory, step)
            if all((self._directory / str(step)).exists() for step in steps):
                break
        return None

    def restore(
        self,
        template: Any,
        check: Callable[[dict[str, Any]], None] = lambda meta: None,
        choice: str | int = "latest",
    ) -> Restored | None:
        """Returns an intact checkpoint, or None if there never was one.

        A damaged checkpoint is renamed to `<step>.corrupt`, which is logged, and the one before it
        is restored, on every process the same. In read-only mode nothing is renamed.

        Args:
          template: a tree of arrays or shapes, as given to `save`, or a function that makes it from
            the saved `meta`; None returns the stored tree, as nested dictionaries.
          check: called with the saved `meta`; raises UserError to refuse it.
          choice: "latest" (newest intact one), or "best" or a step (no other one is tried).

        Raises:
          UserError: if all are damaged, the arrays do not match the template, or `check` raises.
        """
        for _ in range(MOST_DELETED):
            steps, gone = self._candidates(choice), False
            for step in steps:
                found, problem, gone = self._try(step, template, check)
                if not distributed.agree(found is None):
                    return found
                if gone := distributed.agree(gone):
                    if self._manager:
                        self._reopen()
                    break
                self._quarantine(step, problem or "damaged as another process reads it")
            if not gone:
                self._complain(choice, steps)
                return None
        raise UserError(
            f"the checkpoints in {self._directory} are deleted faster than they can be read: wait"
            " for the run, or raise its checkpoint.keep_latest",
            EXIT_WORKDIR,
        )

    def _candidates(self, choice: str | int) -> list[int]:
        there = self._steps()
        steps = sorted(there.values, reverse=True)
        if choice == "latest":
            return steps
        step = there.best()[1] if choice == "best" else int(choice)
        if step is None:
            raise UserError(
                f"no checkpoint in {self._directory.parent} was evaluated: use --checkpoint=latest"
            )
        if step not in steps:
            raise UserError(
                f"no checkpoint of step {step} in {self._directory}: there are {steps[::-1]}"
            )
        return [step]

    def _try(
        self, step: int, template: Any, check: Callable[[dict[str, Any]], None]
    ) -> tuple[Restored | None, str, bool]:
        """Returns a checkpoint or the reason for failure, and whether it was deleted meanwhile."""
        folder = self._directory / str(step)
        before = identity(folder)
        try:
            described = checkpoint_files.describe(self._directory, step)
            check(described.meta)
            target = template(described.meta) if callable(template) else template
            state = checkpoint_files.read_state(self._directory, described, target)
            return Restored(step, state, described.meta), "", False
        except UserError:
            raise
        except Exception as error:  # Orbax has no common class for damage
            if checkpoint_files.is_no_damage(error):
                raise UserError(
                    f"checkpoint {folder} cannot be read: {reason(error)}", EXIT_WORKDIR
                ) from error
            return None, reason(error), before is None or identity(folder) != before

    def _complain(self, choice: str | int, steps: list[int]) -> None:
        """Raises an error if checkpoints exist but none is intact; returns if there were none."""
        if choice != "latest":
            raise UserError(
                f"checkpoint {steps[0]} in {self._directory} is damaged: choose another",
                EXIT_BAD_DATA,
            )
        damaged = sorted(path.name for path in self._directory.glob("*.corrupt*"))
        names = ", ".join([*damaged, *map(str, [] if self._manager else steps)])
        # The disk error of a read-only process may be its own, so nothing must be deleted.
        cure = "delete these" if self._manager else "train again"
        if names:
            raise UserError(
                f"no intact checkpoint is left in {self._directory} ({names} damaged): to start"
                f" again from step 0, set another --workdir, or {cure}",
                EXIT_BAD_DATA,
            )

    def _quarantine(self, step: int, reason: str) -> None:
        if self._manager is None:
            LOG.warning("checkpoint %s/%d is damaged: %s", self._directory, step, reason)
            return
        if distributed.is_main_process():
            self._rename(step, reason)
        distributed.barrier(f"quarantine-{step}")
        self._reopen()

    def _rename(self, step: int, reason: str) -> None:
        number, target = 1, self._directory / f"{step}.corrupt"
        while target.exists():
            number += 1
            target = self._directory / f"{step}.corrupt{number}"
        try:
            (self._directory / str(step)).rename(target)
        except OSError as error:
            raise unwritable(self._directory, error) from error
        LOG.warning(
            "checkpoint %s/%d is damaged, renamed %s, the one before it is used: %s",
            self._directory,
            step,
            target.name,
            reason,
        )

    def _reopen(self) -> None:
        with contextlib.suppress(Exception):  # a write that fails here has failed before
            self._manager.close()
        self._manager = self._open()

    def _check_place(self) -> None:
        if identity(self._directory) != self._identity:
            raise UserError(
                f"{self._directory} was removed or moved while the run was writing there: put it"
                " back, and give the same command again",
                EXIT_WORKDIR,
            )

    def _fail(self, error: Exception, final: bool) -> None:
        self._failures += 1
        if self._unflushed is not None:
            self._retention.values.pop(self._unflushed, None)
        self._unflushed = None
        if isinstance(error, UserError):
            raise error
        self._check_place()
        if distributed.process_count() > 1 and system_errno(error) not in OF_DISKS:
            raise UserError(
                f"another process is lost, as saving a checkpoint shows: {reason(error)};"
                " start the run again: it continues from the last intact checkpoint",
                EXIT_PEER_LOST,
            ) from error
        # Other processes may not have had this error; reopening without them would hang.
        if final or self._failures >= ALLOWED_FAILURES or distributed.process_count() > 1:
            raise unwritable(self._directory, error) from error
        LOG.warning(
            "a checkpoint was not written; the run continues and tries again: %s", reason(error)
        )
        try:
            self._reopen()
        except OSError as error:
            raise unwritable(self._directory, error) from error

    def _wait(self) -> None:
        self._manager.wait_until_finished()
        if self._unflushed is None:
            return
        if distributed.is_main_process():
            folder = self._directory / str(self._unflushed)  # Orbax flushes only the arrays
            flush([*folder.rglob("*"), folder, self._directory])
            shutil.rmtree(self._directory / "trash", ignore_errors=True)
            retention.end_replacement(self._directory)
        self._failures = 0
        self._unflushed = None
