"""A run of an ablation, what came of it, and both as JSON."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.ablation import TUNING_SEED, Ablation, Curve


class Task(NamedTuple):
    """One run.

    Attributes:
      variant: what is run.
      seed: its seed.
      tuning: number of the tried fields, see `Ablation.tuning`; None of a run that counts.
    """

    variant: str
    seed: int
    tuning: int | None = None

    def __str__(self) -> str:
        """Returns "plain-20, seed 0", or "plain-20, tuning 1"."""
        return f"{self.variant}, " + (
            f"seed {self.seed}" if self.tuning is None else f"tuning {self.tuning}"
        )

    def directory(self, out: Path) -> Path:
        """Its workdir."""
        name = f"seed{self.seed}" if self.tuning is None else f"tuning{self.tuning}"
        return out / self.variant / name


class Result(NamedTuple):
    """What came of a run.

    Attributes:
      value: the last y of the curve.
      curve: the metric along the ablation's x.
      seconds: duration of the run since its last interruption; 0 if unknown.
      fields: what tuning chose.
      step_ms: milliseconds of a step, the median over the run's records; nan if unknown.
      epochs: the first epoch at which the training loss was at most `Ablation.loss_threshold`; inf
        if none, nan if unknown.
      machine: what it ran on, in words.
    """

    task: Task
    value: float
    curve: Curve
    seconds: float = 0.0
    fields: Mapping[str, Any] = {}
    step_ms: float = math.nan
    epochs: float = math.nan
    machine: str = ""


def all_tasks(ablation: Ablation, seeds: int, first_seed: int = 0) -> list[Task]:
    """Returns all runs: of each variant those that tune it, then those that count, by seed."""
    return [
        task
        for variant in ablation.variants
        for task in (
            *(Task(variant, TUNING_SEED, i) for i in range(len(ablation.tuning()))),
            *(Task(variant, first_seed + number) for number in range(seeds)),
        )
    ]


def to_record(result: Result) -> dict[str, Any]:
    """Returns a result as JSON has it; numbers that are not finite are null or "inf"."""
    record = {"variant": result.task.variant, "seed": result.task.seed, **result._asdict()}
    del record["task"]
    record["curve"] = [[x, _to_json(y)] for x, y in result.curve]
    return {name: _to_json(value) for name, value in record.items()}


def from_record(record: Mapping[str, Any]) -> Result:
    """Returns the result of a record of `to_record`.

    Raises:
      ValueError, TypeError, KeyError: if it is none.
    """
    return Result(
        Task(str(record["variant"]), int(record["seed"])),
        _from_json(record["value"]),
        [(float(x), _from_json(y)) for x, y in record["curve"]],
        float(record["seconds"]),
        dict(record["fields"]),
        _from_json(record["step_ms"]),
        _from_json(record["epochs"]),
        str(record.get("machine", "")),
    )


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _from_json(value: Any) -> float:
    return math.nan if value is None else float(value)
