"""The runs of an ablation: one for each variant and seed, in a directory of its own.

out/
  <variant>/seed<k>/   workdir of the run, its output as run.txt, and its result.json
  results.csv …        see `report`
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxcnn import recipes, workdir
from jaxcnn.ablation import Ablation, Curve
from jaxcnn.errors import EXIT_WORKDIR, UserError, nearest

RESULT = "result.json"


class Task(NamedTuple):
    """One run."""

    variant: str
    seed: int

    def directory(self, out: Path) -> Path:
        """Its workdir."""
        return out / self.variant / f"seed{self.seed}"


class Result(NamedTuple):
    """What came of a run.

    Attributes:
      value: the last y of the curve.
      curve: the metric along the ablation's x.
    """

    task: Task
    value: float
    curve: Curve


def tasks(ablation: Ablation, seeds: int) -> list[Task]:
    """Returns all runs, seed by seed within a variant: their order numbers them."""
    return [Task(variant, seed) for variant in ablation.variants for seed in range(seeds)]


def finished(ablation: Ablation, task: Task, out: Path, *, quick: bool) -> Result | None:
    """Returns the result of a run that is done, or None.

    Raises:
      UserError: if it was made with another config.
    """
    file = task.directory(out) / RESULT
    if not file.exists():
        return None
    try:
        saved = json.loads(file.read_text())
    except json.JSONDecodeError:
        raise UserError(f"{file} is damaged: remove it, and the run is done again") from None
    config = ablation.config(*task, quick=quick)
    try:
        workdir.check_unchanged(config, saved["config"], str(file.parent))
    except UserError as error:
        difference = str(error).partition(". Use another")[0]
        raise UserError(f"{difference}: choose another --out, or remove that one") from None
    return Result(task, saved["value"], [(x, y) for x, y in saved["curve"]])


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


def run(
    ablation: Ablation,
    todo: Iterable[Task],
    out: Path,
    *,
    quick: bool,
    say: Callable[[str], None],
) -> None:
    """Does runs of one variant, one after another, compiled once; those that are done are skipped.

    Args:
      ablation: what to compare.
      todo: the runs.
      out: where all runs of the ablation live.
      quick: shorten them as the ablation says.
      say: takes a line for each run.

    Raises:
      UserError: for whatever `train.run` refuses, or a metric that the run does not have.
    """
    from jaxcnn import programs as parts
    from jaxcnn import train

    programs: dict[str, parts.Programs] = {}

    def build_once(config: ConfigDict, *rest: Any) -> parts.Programs:
        if not programs:
            programs["all"] = parts.build(config, *rest)
        return programs["all"]

    for task in todo:
        if finished(ablation, task, out, quick=quick):
            continue
        config = ablation.config(*task, quick=quick)
        directory = task.directory(out)
        directory.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        with (directory / "run.txt").open("a") as output, contextlib.redirect_stdout(output):
            if ablation.trains:
                train.run(config, directory, build=build_once)
            curve = _curve(ablation, config, directory)
        if not curve:
            raise UserError(f"{directory} has too few records to measure: log more often")
        record = {
            "variant": task.variant,
            "seed": task.seed,
            "metric": ablation.metric,
            "value": curve[-1][1],
            "curve": curve,
            "config": recipes.to_saved(config),
        }
        _write(directory / RESULT, json.dumps(record))
        title = f"{task.variant}, seed {task.seed}"
        seconds = time.monotonic() - begun
        say(f"{title}: {ablation.metric} {curve[-1][1]:.4g} ({seconds:.0f} s)")


def _curve(ablation: Ablation, config: ConfigDict, directory: Path) -> Curve:
    if ablation.measure is not None:
        return ablation.measure(config, directory)
    from jaxcnn.logbook import Logbook

    records = Logbook(directory, active=False).records()
    points = {
        record["epoch"]: record[ablation.metric] for record in records if ablation.metric in record
    }
    if not points:
        known = {key for record in records for key in record}
        raise UserError(
            f"the runs have no metric {ablation.metric!r}: {nearest(ablation.metric, known)}"
        )
    return list(points.items())


def _write(file: Path, text: str) -> None:
    """All or nothing."""
    part = file.with_suffix(".part")
    part.write_text(text)
    os.replace(part, file)
