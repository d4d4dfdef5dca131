"""The runs of an ablation: one for each variant and seed, in a directory of its own.

out/
  <variant>/seed<k>/   workdir of the run, its output as run.txt, and its result.json
  <variant>/tuning<i>/ the same of a run that tries fields
  results.csv …        see `report`
"""

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.ablation import TUNING_SEED, Ablation, Curve
from jaxcnn.ablation.task import Result, Task, from_record, to_record
from jaxcnn.config import config_dict, resume
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import (
    EXIT_PEER_LOST,
    EXIT_WORKDIR,
    DivergedError,
    InUseError,
    UserError,
    nearest,
)
from jaxcnn.io import safe_files
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import distributed, versions, workdir
from jaxcnn.run.metric_writer import MetricWriter, duration

RESULT = "result.json"


def finished(ablation: Ablation, task: Task, out: Path) -> Result | None:
    """Returns the result of a run that is done, or None.

    Raises:
      UserError: if it was made with another config, or is damaged.
    """
    file = task.directory(out) / RESULT
    if not file.exists():
        return None
    try:
        saved = json.loads(safe_files.read_text(file))
        result = from_record(saved)._replace(task=task)
        kept = dict(saved["config"])
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{file} is damaged: remove it, and the run is done again") from None
    fields = result.fields if task.tuning is None else ablation.tuning()[task.tuning]
    config = ablation.config(task.variant, task.seed, fields)
    try:
        resume.check_unchanged(config, kept, str(file.parent))
    except UserError as error:
        difference = str(error).partition(". Use another")[0]
        raise UserError(f"{difference}: choose another --out, or remove that one") from None
    return result


def tuned(ablation: Ablation, variant: str, out: Path) -> dict[str, Any] | None:
    """Returns the fields that were best; see `Ablation.tune`. None if they are not all tried.

    Raises:
      UserError: see `finished`.
    """
    choices = ablation.tuning()
    found = [finished(ablation, Task(variant, TUNING_SEED, i), out) for i in range(len(choices))]
    done = [result for result in found if result is not None]
    if len(done) < len(choices):
        return None
    if not choices:
        return {}
    sign = -1 if ablation.maximised else 1
    values = [sign * r.value if math.isfinite(r.value) else math.inf for r in done]
    best = choices[values.index(min(values))]
    return {name: best[name] for name in ablation.tune}


def check_writable(out: Path) -> None:
    """Makes the directory.

    Raises:
      UserError: if that is not possible.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(13, "no permission to write there")
    except OSError as error:
        raise UserError(f"--out={out}: {error.strerror}; choose another", EXIT_WORKDIR) from None


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Holds the directory of an ablation against a second runner, whose table would lack runs.

    Single runs, by --task or --variant, do not need it: each holds its own workdir.

    Raises:
      UserError: if another runner holds it.
    """
    with contextlib.ExitStack() as scope:
        try:
            scope.enter_context(workdir.locked(out))
        except UserError as error:
            text = str(error).replace("--workdir", "--out").replace("the workdir", "the folder")
            raise UserError(text, error.exit_code) from None
        yield


def run(
    ablation: Ablation,
    todo: Iterable[Task],
    out: Path,
    *,
    say: Callable[[str], None],
    keep: bool = False,
    deadline: float = math.inf,
) -> None:
    """Does runs, one after another; those that are done are skipped.

    So are, until the end, those that another process has in work. Runs of one variant are compiled
    once.

    Args:
      ablation: what to compare.
      todo: the runs.
      out: where all runs of the ablation live.
      say: takes a line for each run.
      keep: whether to keep the trained weights; else a run leaves its records alone.
      deadline: time of `time.monotonic` after which none begins.

    Raises:
      UserError: for whatever `train.run` refuses, a metric that the run does not have, a run that
        another process has in work, or one of a variant that is not tuned yet.
    """
    programs: dict[str, Any] = {}
    left = [task for task in todo if not finished(ablation, task, out)]
    in_use = []
    for number, task in enumerate(left, 1):
        if time.monotonic() > deadline:
            break
        directory = task.directory(out)
        if task.tuning is None:
            fields = tuned(ablation, task.variant, out)
        else:
            fields = ablation.tuning()[task.tuning]
        if fields is None:
            in_use.append(
                UserError(
                    f"{task.variant} is not tuned yet: its first runs do that", EXIT_PEER_LOST
                )
            )
            continue
        if finished(ablation, task, out):  # measured beside another variant
            continue
        try:
            with workdir.locked(directory):  # before its run.txt is opened
                pass
            results = _run_one(ablation, task, fields, out, programs)
        except InUseError as error:
            in_use.append(error)
            continue
        if not keep:
            _remove_checkpoints(directory)
        place = f"{number} of {len(left)}: " if len(left) > 1 else ""
        for result in results:
            say(place + described(result, ablation.metric))
    if in_use:
        raise in_use[0]


def _run_one(
    ablation: Ablation,
    task: Task,
    fields: Mapping[str, Any],
    out: Path,
    programs: dict[str, Any],
) -> list[Result]:
    """Trains and measures, also for the variants that are other measurements of this training."""
    from jaxcnn.training import train

    directory = task.directory(out)
    config = ablation.config(task.variant, task.seed, fields)
    build_once = programs_made_once(programs, json.dumps([task.variant, fields]))
    results = []
    begun = time.monotonic()
    with (
        (directory / "run.txt").open("a", encoding="utf-8") as output,
        contextlib.redirect_stdout(output),
    ):
        lost = False
        if ablation.trains:
            try:
                train.run(config, directory, make_programs=build_once)
            except DivergedError as error:
                print(error)
                lost = True
        with workdir.locked(directory):
            for variant in ablation.same_training(task.variant):
                one = task._replace(variant=variant)
                if not finished(ablation, one, out):
                    result = _measured(ablation, config, directory, one, lost)
                    seconds = round(time.monotonic() - begun, 1)
                    chosen = fields if task.tuning is None else {}
                    result = result._replace(seconds=seconds, fields=chosen)
                    _save(ablation, config, result, out)
                    results.append(result)
                begun = time.monotonic()
    return results


def _measured(
    ablation: Ablation, config: RunConfig, directory: Path, task: Task, lost: bool
) -> Result:
    """Returns the result of a run, which is nan of one whose training was `lost`, or diverged."""
    records = MetricWriter(directory, active=False).records()
    curve = [(0.0, math.nan)]
    if ablation.measure is None or not lost:
        curve = _curve(ablation, config, directory, task)
    if not curve:
        raise UserError(f"{directory} has too few records to measure: log more often")
    # Steps whose gradient is not finite are left out, so the last loss would look healthy.
    diverged = lost or (ablation.measure is None and skips_at_end(records))
    return Result(
        task,
        math.nan if diverged else curve[-1][1],
        curve,
        step_ms=1e3 * config.train.batch_size / images_per_second(directory),
        epochs=_epochs_to(records, ablation.loss_threshold),
        machine=machine(),
    )


def _save(ablation: Ablation, config: RunConfig, result: Result, out: Path) -> None:
    record = {
        **to_record(result),
        "metric": ablation.metric,
        "config": config_dict.to_saved(config),
    }
    directory = result.task.directory(out)
    directory.mkdir(parents=True, exist_ok=True)
    with whole_file(directory / RESULT) as file:
        file.write(json.dumps(record).encode())


def programs_made_once(programs: dict[str, Any], key: str) -> Callable[..., Any]:
    """Returns `make_programs` for runs that differ in their seeds alone: it compiles once.

    Args:
      programs: where the last ones are kept.
      key: tells those of one config from others.
    """
    from jaxcnn.config import programs as parts

    def build(config: RunConfig, *rest: Any) -> parts.Programs:
        if key not in programs:
            programs.clear()  # only those of one config are kept
            programs[key] = parts.make_programs(config, *rest)
        return programs[key]

    return build


def _remove_checkpoints(directory: Path) -> None:
    """Removes what a run of which only the result counts needs no more.

    Also of runs within its folder, which a measure may have made.
    """
    for folder in (directory / "checkpoints", *directory.glob("*/checkpoints")):
        if folder.is_dir() and not folder.is_symlink() and not folder.parent.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def machine() -> str:
    """Returns what this process runs on: "2 cores of AMD EPYC, jax 0.10.1"."""
    cores = versions.cores()
    place = f"{cores} core{'s' * (cores > 1)} of {versions.processor()}"
    if distributed.platform() != "cpu":
        place = f"{distributed.device_count()} x {distributed.devices()[0].device_kind}"
    return f"{place}, jax {versions.installed()['jax']}"


def skips_at_end(records: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether the last record of training left out steps that were not finite."""
    skipped = [record["train/skipped"] for record in records if "train/skipped" in record]
    return bool(skipped) and skipped[-1] > 0


def images_per_second(directory: Path) -> float:
    """Returns the median over a run's records but the first; nan if there are no others."""
    records = MetricWriter(directory, active=False).records()
    rates = [record["images_per_second"] for record in records if "images_per_second" in record]
    return float(np.median(rates[1:])) if rates[1:] else math.nan


def _epochs_to(records: Sequence[Mapping[str, Any]], loss: float) -> float:
    points = [(r["epoch"], r["train/loss"]) for r in records if "train/loss" in r]
    return min((x for x, y in points if y <= loss), default=math.inf if points else math.nan)


def described(result: Result, metric: str) -> str:
    """Returns "plain-20, seed 0: train/loss 0.3312 (47 s)"."""
    return f"{result.task}: {metric} {result.value:.4f} ({duration(result.seconds)})"


def _curve(ablation: Ablation, config: RunConfig, directory: Path, task: Task) -> Curve:
    measure = ablation.measure
    if isinstance(measure, Mapping):
        measure = measure[task.variant]
    if measure is not None:
        return measure(config, directory)
    metric = ablation.metric
    if task.tuning is not None:
        metric = metric.replace("test/", "validation/")
    records = MetricWriter(directory, active=False).records()
    points = {record["epoch"]: record[metric] for record in records if metric in record}
    if not points:
        known = {key for record in records for key in record}
        raise UserError(f"the runs have no metric {metric!r}: {nearest(metric, known)}")
    return list(points.items())
