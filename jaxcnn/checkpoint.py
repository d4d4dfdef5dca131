"""Checkpoints: Orbax behind four verbs — save, restore, latest, wait.

A checkpoint is one directory per step that appears whole or not at all. It holds the state as NumPy
arrays, a SHA-256 per array (Orbax does not notice a flipped bit), and what the run was: config,
versions, devices.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxcnn import parallel
from jaxcnn.errors import EXIT_BAD_DATA, EXIT_WORKDIR, UserError
from jaxcnn.state import leaf_digests

LOG = logging.getLogger("jaxcnn")
ALLOWED_FAILURES = 3
SEAL = "seal"  # among the digests, that of the digests and the description themselves


class Restored(NamedTuple):
    """A verified checkpoint: its step, its state as NumPy arrays, and what was saved beside it."""

    step: int
    state: Any
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one workdir.

    Args:
      directory: where they lie; made if missing.
      keep_latest: how many of the newest to keep.
      keep_best: how many of the best to keep, by `metric`; 0 keeps none for that reason.
      metric: a key of the metrics given to `save`; higher is better.
      read_only: change nothing, not even damaged checkpoints or leftovers of a killed run.
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
        self._directory = directory.resolve()
        self._metric = metric
        self._read_only = read_only
        self._keep = (keep_latest, keep_best)
        self._failures = 0
        self._unflushed: int | None = None
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        self._set_aside_unreadable_metrics()
        latest, best = self._keep
        policies: list[Any] = [preservation_policy.LatestN(n=max(latest, 1))]
        if best:
            policies.append(
                preservation_policy.BestN(
                    get_metric_fn=self._score,
                    n=best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True, create=False)
        else:
            self._delete_leftovers()
            options = ocp.CheckpointManagerOptions(
                best_fn=self._score,  # without it Orbax writes no metrics
                preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
                todelete_subdir="trash",  # a rename: a killed deletion leaves no half of a step
            )
        return ocp.CheckpointManager(
            self._directory,
            options=options,
            item_names=("state", "digests", "meta"),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "digests": ocp.JsonCheckpointHandler(),
                "meta": ocp.JsonCheckpointHandler(),
            },
        )

    def _delete_leftovers(self) -> None:
        """Deletes what killed runs and failed saves left half written.

        Orbax's thread for that outlives a manager that is closed without a save, and may delete
        what the next one writes. The caller holds the workdir's lock.
        """
        if jax.process_index() == 0:
            for path in self._directory.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _set_aside_unreadable_metrics(self) -> None:
        """Orbax reads all of them when it opens the directory, and would fail on one."""
        for path in self._directory.glob("[0-9]*/metrics/metrics"):
            step = path.parent.parent
            if not step.name.isdecimal():
                continue
            try:
                json.loads(path.read_bytes())
            except ValueError:
                if self._read_only:
                    raise UserError(
                        f"checkpoint {step} is damaged: its metrics", EXIT_BAD_DATA
                    ) from None
                if jax.process_index() == 0:
                    step.rename(step.with_name(f"{step.name}.corrupt"))
                    LOG.warning(
                        "checkpoint %s is damaged, renamed %s.corrupt, the one before it is used:"
                        " its metrics cannot be read",
                        step,
                        step.name,
                    )
        parallel.barrier("metrics")

    def _score(self, metrics: dict[str, float]) -> float:
        return metrics.get(self._metric, -math.inf)  # of an earlier run by another metric

    def latest(self) -> int | None:
        """The newest step, or None. A step that is still being written counts."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step with the highest metric (the newest of equals), or None if none was measured."""
        return max(self._scores())[1] if self._scores() else None

    def best_value(self) -> float:
        """The highest metric, or -inf."""
        return max(self._scores())[0] if self._scores() else -math.inf

    def _scores(self) -> list[tuple[float, int]]:
        return [
            (metrics[self._metric], step)
            for step in self._manager.all_steps()
            if (metrics := self._manager.metrics(step)) and self._metric in metrics
        ]

    def save(
        self,
        step: int,
        state: Any,
        meta: dict[str, Any],
        metrics: dict[str, float] | None = None,
        final: bool = False,
    ) -> None:
        """Starts to write a checkpoint; `wait` sees it finished.

        Args:
          step: its name.
          state: a tree of NumPy arrays.
          meta: JSON; the config and what else describes the run.
          metrics: the evaluation at this step, if there was one.
          final: nothing comes after it, so it must succeed, and is waited for.

        Raises:
          UserError: after several failures in a row, or one of a final save; earlier ones are
            logged and the run goes on to the next.
        """
        nested = _nested(state)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(nested),
            digests=ocp.args.JsonSave({**(leaves := _describe(nested)), SEAL: _seal(leaves, meta)}),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            self._wait()
        except Exception as error:
            self._fail(error, final=False)
        try:
            if self._manager.latest_step() != step:  # an interrupted run may save twice at a step
                if not self._manager.save(step, args=items, metrics=metrics):
                    raise OSError(f"Orbax declined to write step {step}")
                self._unflushed = step
            if final:
                self._wait()
        except Exception as error:
            self._fail(error, final)

    def wait(self) -> None:
        """Returns when everything saved is on the disk.

        Raises:
          UserError: if it could not be written.
        """
        try:
            self._wait()
        except Exception as error:
            self._fail(error, final=True)

    def close(self) -> None:
        """Lets go of Orbax's threads; logs what could not be written."""
        try:
            self._manager.close()
        except Exception as error:
            LOG.warning("the last checkpoint was not written: %s", error)

    def restore(
        self,
        template: Any,
        check: Callable[[dict[str, Any]], None] = lambda meta: None,
        step: int | None = None,
    ) -> Restored | None:
        """Returns the newest checkpoint that is whole, or None if there never was one.

        A damaged one is renamed to `<step>.corrupt`, which is logged, and the one before it is
        taken: on every process the same.

        Args:
          template: a tree of arrays or shapes, as `save` got, or a function that makes it of the
            saved `meta`; None takes what is there, as nested dictionaries.
          check: called with the saved `meta`; raises UserError to refuse it.
          step: this one or none.

        Raises:
          UserError: all are damaged; the arrays are not those of the template; whatever `check`
            raises.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        if step is not None:
            if step not in steps:
                raise UserError(
                    f"no checkpoint of step {step} in {self._directory}: there are {steps[::-1]}"
                )
            steps = [step]
        for candidate in steps:
            found, problem = None, ""
            try:
                found = self._read(candidate, template, check)
            except UserError:
                raise
            except Exception as error:  # Orbax has no common class for damage
                problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            if not parallel.agree(found is None):
                return found
            self._quarantine(candidate, problem or "damaged as another process reads it")
        damaged = sorted(path.name for path in self._directory.glob("*.corrupt*"))
        if step is not None:
            raise UserError(
                f"checkpoint {step} in {self._directory} is damaged: choose another", EXIT_BAD_DATA
            )
        if steps or damaged:
            raise UserError(
                f"no whole checkpoint is left in {self._directory} ({', '.join(damaged) or steps}"
                " damaged): to begin again from step 0 give another --workdir, or delete these",
                EXIT_BAD_DATA,
            )
        return None

    def _read(self, step: int, template: Any, check: Callable[[dict[str, Any]], None]) -> Restored:
        texts = self._manager.restore(
            step,
            args=ocp.args.Composite(meta=ocp.args.JsonRestore(), digests=ocp.args.JsonRestore()),
        )
        if texts.digests.pop(SEAL, "") != _seal(texts.digests, texts.meta):
            raise ValueError("its description is not what was saved")
        check(texts.meta)
        if callable(template):
            template = template(texts.meta)
        wanted = _nested(template) if template is not None else _described(texts.digests)
        _compare(texts.digests, wanted, f"{self._directory}/{step}")
        target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), wanted)
        nested = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        ).state
        for path, digest in leaf_digests(nested).items():
            if texts.digests[path]["sha256"] != digest:
                raise ValueError(f"the bits of state/{path} are not those that were saved")
        if template is None:
            return Restored(step, nested, texts.meta)
        leaves = flax.traverse_util.flatten_dict(nested, sep="/")
        state = jax.tree_util.tree_map_with_path(lambda path, _: leaves[_name(path)], template)
        return Restored(step, state, texts.meta)

    def _quarantine(self, step: int, reason: str) -> None:
        if self._read_only:
            LOG.warning("checkpoint %s/%d is damaged: %s", self._directory, step, reason)
            return
        if jax.process_index() == 0:
            number, target = 1, self._directory / f"{step}.corrupt"
            while target.exists():
                number += 1
                target = self._directory / f"{step}.corrupt{number}"
            (self._directory / str(step)).rename(target)
            LOG.warning(
                "checkpoint %s/%d is damaged, renamed %s, the one before it is used: %s",
                self._directory,
                step,
                target.name,
                reason,
            )
        parallel.barrier(f"quarantine-{step}")
        self._reopen()

    def _reopen(self) -> None:
        """Forgets what the manager remembers, such as a step that is no longer there."""
        self._manager.close()
        self._manager = self._open()

    def _fail(self, error: Exception, final: bool) -> None:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        self._failures += 1
        self._unflushed = None
        # The other processes may not have seen it, and reopening without them would hang.
        if final or self._failures >= ALLOWED_FAILURES or jax.process_count() > 1:
            raise UserError(
                f"cannot write checkpoints to {self._directory}: {reason}; free space or make it"
                " writable, then start the run again: it continues from the last whole checkpoint",
                EXIT_WORKDIR,
            ) from error
        LOG.warning("a checkpoint was not written, the run goes on and tries again: %s", reason)
        self._reopen()

    def _wait(self) -> None:
        self._manager.wait_until_finished()
        if self._unflushed is None:
            return
        self._failures = 0
        if jax.process_index() != 0:
            self._unflushed = None
            return
        # Orbax flushes arrays but neither its JSON files nor the renamed directory.
        folder = self._directory / str(self._unflushed)
        for path in [*folder.rglob("*"), folder, self._directory]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._unflushed = None
        shutil.rmtree(self._directory / "trash", ignore_errors=True)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _nested(tree: Any) -> Any:
    """Dictionaries all the way down, without empty nodes: names do not depend on Python classes."""
    leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def _describe(nested: Any) -> dict[str, Any]:
    digests = leaf_digests(nested)
    leaves = flax.traverse_util.flatten_dict(nested, sep="/")
    return {
        path: {"sha256": digests[path], "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
        for path, leaf in leaves.items()
    }


def _described(saved: dict[str, Any]) -> Any:
    """The shapes and dtypes that `_describe` wrote down."""
    leaves = {
        path: jax.ShapeDtypeStruct(entry["shape"], jnp.dtype(entry["dtype"]))
        for path, entry in saved.items()
    }
    return flax.traverse_util.unflatten_dict(leaves, sep="/")


def _seal(leaves: dict[str, Any], meta: dict[str, Any]) -> str:
    """SHA-256 of what stands beside the arrays."""
    return hashlib.sha256(json.dumps([leaves, meta], sort_keys=True).encode()).hexdigest()


def _compare(saved: dict[str, Any], wanted: Any, where: str) -> None:
    """Orbax names missing arrays but casts dtypes silently, so both are compared here."""
    leaves = flax.traverse_util.flatten_dict(wanted, sep="/")
    here = {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves.items()}
    there = {path: f"{entry['dtype']}{entry['shape']}" for path, entry in saved.items()}
    differing = [
        f"{path} is {there.get(path, 'missing')} there and {here.get(path, 'missing')} here"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UserError(
            f"checkpoint {where} is of another network or optimizer: {'; '.join(differing[:3])}"
            f"{more}; use the config it was saved with, or another --workdir"
        )
