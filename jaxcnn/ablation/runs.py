"""The runs of an ablation: one for each variant and seed, in a directory of its own.

out/
  <variant>/seed<k>/   workdir of the run, its output as run.txt, and its result.json
  results.csv …        see `report`
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.ablation import Ablation, Curve
from jaxcnn.config import config_dict, resume
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import EXIT_WORKDIR, UserError, nearest
from jaxcnn.io import safe_files
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import workdir
from jaxcnn.run.metric_writer import MetricWriter, duration

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
      seconds: duration of the run since its last interruption; 0 if unknown.
    """

    task: Task
    value: float
    curve: Curve
    seconds: float = 0.0


def tasks(ablation: Ablation, seeds: int) -> list[Task]:
    """Returns all runs, seed by seed within a variant: their order numbers them."""
    return [Task(variant, seed) for variant in ablation.variants for seed in range(seeds)]


def finished(ablation: Ablation, task: Task, out: Path, *, quick: bool) -> Result | None:
    """Returns the result of a run that is done, or None.

    Raises:
      UserError: if it was made with another config, or is damaged.
    """
    file = task.directory(out) / RESULT
    if not file.exists():
        return None
    try:
        saved = json.loads(safe_files.read_text(file))
        value, kept = float(saved["value"]), dict(saved["config"])
        curve = [(float(x), float(y)) for x, y in saved["curve"]]
        seconds = float(saved.get("seconds", 0))
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{file} is damaged: remove it, and the run is done again") from None
    config = ablation.config(*task, quick=quick)
    try:
        resume.check_unchanged(config, kept, str(file.parent))
    except UserError as error:
        difference = str(error).partition(". Use another")[0]
        raise UserError(f"{difference}: choose another --out, or remove that one") from None
    return Result(task, value, curve, seconds)


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
    quick: bool,
    say: Callable[[str], None],
) -> None:
    """Does runs of one variant, one after another, compiled once; those that are done are skipped.

    So are, until the end, those that another process has in work.

    Args:
      ablation: what to compare.
      todo: the runs.
      out: where all runs of the ablation live.
      quick: shorten them as the ablation says.
      say: takes a line for each run.

    Raises:
      UserError: for whatever `train.run` refuses, a metric that the run does not have, or a run
        that another process has in work.
    """
    from jaxcnn.config import programs as parts
    from jaxcnn.training import train

    programs: dict[str, parts.Programs] = {}

    def build_once(config: RunConfig, *rest: Any) -> parts.Programs:
        if not programs:
            programs["all"] = parts.make_programs(config, *rest)
        return programs["all"]

    left = [task for task in todo if not finished(ablation, task, out, quick=quick)]
    in_use = []
    for number, task in enumerate(left, 1):
        config = ablation.config(*task, quick=quick)
        directory = task.directory(out)
        try:
            with workdir.locked(directory):
                pass
        except UserError as error:
            in_use.append(error)
            continue
        begun = time.monotonic()
        with (
            (directory / "run.txt").open("a", encoding="utf-8") as output,
            contextlib.redirect_stdout(output),
        ):
            if ablation.trains:
                train.run(config, directory, make_programs=build_once)
            curve = _curve(ablation, config, directory)
        if not curve:
            raise UserError(f"{directory} has too few records to measure: log more often")
        seconds = time.monotonic() - begun
        record = {
            "variant": task.variant,
            "seed": task.seed,
            "metric": ablation.metric,
            "value": curve[-1][1],
            "curve": curve,
            "seconds": seconds,
            "config": config_dict.to_saved(config),
        }
        with whole_file(directory / RESULT) as file:
            file.write(json.dumps(record).encode())
        place = f"{number} of {len(left)}: " if len(left) > 1 else ""
        say(place + described(Result(task, curve[-1][1], curve, seconds), ablation.metric))
    if in_use:
        raise in_use[0]


def described(result: Result, metric: str) -> str:
    """Returns "plain-20, seed 0: train/loss 0.3312 (47 s)"."""
    variant, seed = result.task
    return f"{variant}, seed {seed}: {metric} {result.value:.4f} ({duration(result.seconds)})"


def _curve(ablation: Ablation, config: RunConfig, directory: Path) -> Curve:
    if ablation.measure is not None:
        return ablation.measure(config, directory)
    records = MetricWriter(directory, active=False).records()
    points = {
        record["epoch"]: record[ablation.metric] for record in records if ablation.metric in record
    }
    if not points:
        known = {key for record in records for key in record}
        raise UserError(
            f"the runs have no metric {ablation.metric!r}: {nearest(ablation.metric, known)}"
        )
    return list(points.items())
