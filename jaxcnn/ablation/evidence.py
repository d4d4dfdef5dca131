"""What an ablation's runs left, as a file of one line of JSON for each run: runs.jsonl."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.sizes import Size
from jaxcnn.ablation.task import Result, from_record, to_record
from jaxcnn.config import config_dict, resume
from jaxcnn.errors import UserError
from jaxcnn.io import safe_files
from jaxcnn.io.atomic import whole_file


class Evidence(NamedTuple):
    """All that an ablation's runs left.

    Attributes:
      results: of the runs that are done, by variant and seed.
      sizes: of each variant's network.
    """

    results: Sequence[Result]
    sizes: Mapping[str, Size]

    @property
    def machine(self) -> str:
        """What they ran on, in words."""
        return "; ".join(sorted({row.machine for row in self.results} - {""}))

    @property
    def values(self) -> dict[str, dict[int, float]]:
        """Results by variant and seed."""
        found: dict[str, dict[int, float]] = {}
        for row in self.results:
            found.setdefault(row.task.variant, {})[row.task.seed] = row.value
        return found


def save(file: Path, ablation: Ablation, evidence: Evidence) -> None:
    """Writes evidence as lines of JSON: first what was compared, then a line for each run."""
    head = {
        "metric": ablation.metric,
        "measure": _measures(ablation),
        "sizes": {name: list(size) for name, size in evidence.sizes.items()},
        "config": config_dict.to_saved(config_dict.freeze(ablation.base)),
        "variants": _plain(ablation.variants),
        "tune": _plain(ablation.tune),
    }
    rows = [head, *map(to_record, evidence.results)]
    with whole_file(file) as stream:
        stream.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())


def read(file: Path, ablation: Ablation) -> Evidence:
    """Returns the evidence of a file that `save` wrote.

    Raises:
      UserError: if it is damaged, or of an ablation that trains otherwise.
    """
    try:
        head, *rows = map(json.loads, safe_files.read_text(file).splitlines())
        results = [from_record(row) for row in rows]
        sizes = {str(name): Size(*map(int, size)) for name, size in head["sizes"].items()}
        saved = dict(head["config"])
        same = (head["metric"], head["measure"], head["variants"], head["tune"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{file} is damaged: write it again") from None
    resume.check_unchanged(config_dict.freeze(ablation.base), saved, str(file))
    here = (ablation.metric, _measures(ablation), *map(_plain, (ablation.variants, ablation.tune)))
    if same != here:
        raise UserError(f"{file} has other variants or another metric: run the ablation again")
    return Evidence(results, sizes)


def _measures(ablation: Ablation) -> list[str]:
    """Returns what is measured, as "lesion(most=1)", by name and arguments."""
    measure = ablation.measure
    each = list(measure.values()) if isinstance(measure, Mapping) else [measure]
    return [_measure_name(one) for one in each if one is not None]


def _measure_name(measure: Any) -> str:
    if isinstance(measure, partial):
        given = ", ".join(f"{name}={value!r}" for name, value in measure.keywords.items())
        return f"{_measure_name(measure.func)}({given})"
    return getattr(measure, "__name__", type(measure).__name__)


def _plain(value: Any) -> Any:
    """Returns a value as it is after it was JSON."""
    return json.loads(json.dumps(value))


def by_variant(ablation: Ablation, results: Sequence[Result]) -> dict[str, list[Result]]:
    """Returns the results by variant, in their order, and seed."""
    found = {
        variant: sorted(
            (row for row in results if row.task.variant == variant), key=lambda row: row.task.seed
        )
        for variant in ablation.variants
    }
    return {variant: rows for variant, rows in found.items() if rows}
