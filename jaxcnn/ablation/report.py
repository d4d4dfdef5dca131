"""What an ablation found: runs.jsonl, results.csv, curves.csv, results.md, figure.svg and .png.

`statistics` has the rules. All but the figure's file formats is a function of runs.jsonl, which has
what the runs left and what they ran on.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.runs import Result, from_record, to_record
from jaxcnn.ablation.sizes import Size
from jaxcnn.ablation.statistics import UNSEEN, Finding, Interval, interval, judge, shown
from jaxcnn.config import config_dict, resume
from jaxcnn.errors import UserError
from jaxcnn.figures import style
from jaxcnn.figures.labels import cell, label
from jaxcnn.io import safe_files
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell

LONGEST_TITLE = 90  # characters
_NOTHING = Interval(math.nan, math.nan, math.nan)


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
    _write(file, "".join(f"{json.dumps(row)}\n" for row in rows))


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


def write(ablation: Ablation, text: str, evidence: Evidence, out: Path, command: str) -> str:
    """Writes all files but the figure, each whole or not at all, and returns the tables.

    Args:
      ablation: the compared variants.
      text: what its file says of it.
      evidence: of its runs.
      out: the directory.
      command: what was run.
    """
    save(out / "runs.jsonl", ablation, evidence)
    head = ["variant", "seed", ablation.metric, "step_ms", "epochs", *Size._fields]
    values = [
        (row.task.variant, row.task.seed, row.value, row.step_ms, row.epochs)
        + evidence.sizes[row.task.variant]
        for row in evidence.results
    ]
    _write_csv(out / "results.csv", head, values)
    points = [
        (row.task.variant, row.task.seed, x, y) for row in evidence.results for x, y in row.curve
    ]
    _write_csv(out / "curves.csv", ["variant", "seed", ablation.x, ablation.metric], points)
    _write(out / "results.md", page(ablation, text, evidence, "figure.svg", command))
    return f"{verdicts(ablation, evidence)}\n{table(ablation, evidence)}"


def page(ablation: Ablation, text: str, evidence: Evidence, figure: str, command: str) -> str:
    """Returns a page about an ablation, in Markdown.

    Args:
      ablation: the compared variants.
      text: what its file says of it.
      evidence: of its runs.
      figure: path of the figure from the page.
      command: what repeats it.
    """
    seconds = sum(row.seconds for row in evidence.results)
    runs = len(evidence.results)
    larger = _larger(ablation, judge(ablation, evidence.values))
    parts = [
        *_said(text),
        verdicts(ablation, evidence).rstrip(),
        table(ablation, evidence).rstrip(),
        f"![{_caption(ablation)}]({figure})",
        f"```sh\n{command}\n```",
        f"{runs} runs{_missing(ablation, evidence)} of {seconds / max(runs, 1):.0f} s on average"
        f"{'; ' * bool(evidence.machine)}{evidence.machine}.",
        *([larger] if larger else []),
    ]
    return "\n\n".join(parts) + "\n"


def _missing(ablation: Ablation, evidence: Evidence) -> str:
    """Returns " (5 of 20 are missing)", or ""."""
    whole = ablation.seeds * len(ablation.variants)
    count = sum(max(ablation.seeds - len(found), 0) for found in evidence.values.values())
    count += ablation.seeds * (len(ablation.variants) - len(evidence.values))
    return f" ({count} of {whole} are missing)" if count else ""


def plan_page(ablation: Ablation, text: str, command: str) -> str:
    """Returns the page of an ablation that was not run yet; see `page`."""
    statements = [Finding(claim, _NOTHING, "") for claim in ablation.compared]
    parts = [
        *_said(text),
        f"Not run yet. What will be compared is {cell(ablation.metric)}: "
        + "; ".join(statement(ablation, one) for one in statements)
        + ".",
        f"```sh\n{command}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _said(text: str) -> Iterator[str]:
    """Returns what an ablation's file says of it as paragraphs of a page."""
    title, *rest = paragraphs(text)
    named = [_named(paragraph) for paragraph in rest]
    yield f"# {title.rstrip('.')}"
    yield from (f"**{name}.** {words}" if name else words for name, words in named)


def paragraphs(text: str) -> list[str]:
    """Returns the title of an ablation's file, then "Claim: …" and what else it says."""
    title, _, rest = text.strip().partition("\n")
    parts = re.split(r"\n\s*\n|\n(?=[A-Z][a-z]+: )", rest.strip())
    return [title.strip(), *(" ".join(part.split()) for part in parts if part.strip())]


def _named(paragraph: str) -> tuple[str, str]:
    found = re.match(r"([A-Z][a-z]+): (.*)", paragraph)
    return (found[1], found[2][:1].upper() + found[2][1:]) if found else ("", paragraph)


def _caption(ablation: Ablation) -> str:
    what = "geometric mean" if ablation.logarithmic else "mean"
    return f"{what} over seeds; bands from the lowest to the highest"


def _larger(ablation: Ablation, findings: Sequence[Finding]) -> str:
    """Returns what a larger experiment would need, or ""."""
    open_ones = [
        f"{statement(ablation, one)}: about {one.seeds:,} seeds"
        for one in findings
        if one.verdict.startswith(UNSEEN) and one.seeds
    ]
    if not open_ones:
        return ""
    return (
        "To see the measured difference, if it is the true one, with a probability of 80 %: "
        + "; ".join(open_ones)
        + "."
    )


def verdicts(ablation: Ablation, evidence: Evidence) -> str:
    """Returns the Markdown table of the comparisons: statement, difference and verdict."""
    ratio = ablation.logarithmic
    rows = [
        f"| statement about {cell(ablation.metric)} | {'ratio' if ratio else 'difference'}"
        " (95 % interval) | verdict |",
        "|---|--:|---|",
    ]
    for one in judge(ablation, evidence.values):
        between = str(one.difference) if not math.isnan(one.difference.mean) else ""
        if between and not ratio and one.difference.mean >= 0:
            between = f"+{between}"
        rows.append(f"| {statement(ablation, one)} | {between} | {cell(one.verdict)} |")
    return "\n".join(rows) + "\n"


def statement(ablation: Ablation, finding: Finding) -> str:
    """Returns "residual-56 < plain-56", or "two 3x3 >= 5x5 - 0.01", as a cell of a table."""
    claim = finding.claim
    margin = f"{ablation.margin(claim):g}"
    above, below = (f"{cell(claim.second)} {sign} {margin}" for sign in ("+", "-"))
    if ablation.logarithmic:
        above, below = f"{margin} x {cell(claim.second)}", f"{cell(claim.second)} / {margin}"
    said = {
        "": f"and {cell(claim.second)}",
        ">=": f">= {below}",
        "<=": f"<= {above}",
        "~": f"= {cell(claim.second)}, within {margin}",
    }
    plain = f"{claim.relation} {cell(claim.second)}"
    return f"{cell(claim.first)} {said.get(claim.relation, plain)}"


def table(ablation: Ablation, evidence: Evidence) -> str:
    """Returns the Markdown table of the variants: size, cost, mean and interval."""
    rows = _by_variant(ablation, evidence.results)
    show = {
        "ms per step": any(not math.isnan(row.step_ms) for row in evidence.results),
        f"epochs to loss {ablation.loss_threshold:g}": any(
            not math.isnan(row.epochs) for row in evidence.results
        ),
        "tuned": bool(ablation.tune),
        "diverged": any(not math.isfinite(row.value) for row in evidence.results),
    }
    used = [name for name, there in show.items() if there]
    value_name = f"{cell(ablation.metric)} (95 % interval)"
    head = ["variant", "parameters", "multiply-adds", *used, "seeds", value_name]
    lines = [_row(head), "|---" + "|--:" * (len(head) - 1) + "|"]
    for variant, found in rows.items():
        size = evidence.sizes[variant]
        good = [row.value for row in found if math.isfinite(row.value)]
        cells = {
            "ms per step": _median([row.step_ms for row in found]),
            f"epochs to loss {ablation.loss_threshold:g}": _median([row.epochs for row in found]),
            "tuned": cell(", ".join(map(str, found[0].fields.values()))),
            "diverged": str(len(found) - len(good)),
        }
        value = interval(good, log=_positive(ablation, good)) if good else _NOTHING
        shape = [cell(variant), f"{size.parameters:,}", f"{size.macs:,}"]
        end = [str(len(found)), str(value.cut(ablation.bounds))]
        lines.append(_row([*shape, *(cells[name] for name in used), *end]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _positive(ablation: Ablation, values: Sequence[float]) -> bool:
    """Returns whether to take geometric means."""
    return ablation.logarithmic and min(values) >= 0


def _median(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    middle = float(np.median(known))
    return "more" if math.isinf(middle) else shown(middle, middle / 10)


def draw(ablation: Ablation, text: str, evidence: Evidence, files: Sequence[Path]) -> None:
    """Draws the curves, and beside them the last values with their intervals and the names.

    Args:
      ablation: the compared variants.
      text: what its file says of it; the first line is the title.
      evidence: of its runs.
      files: where the figure goes, as .png or .svg.

    Raises:
      UserError: if matplotlib is missing.
    """
    rows = _by_variant(ablation, evidence.results)
    figure = style.new_figure(10, 0.28 * max(len(rows), 6) + 2.5)
    style.headline(figure, paragraphs(text)[0].rstrip("."))
    single = all(len(row.curve) < 2 for row in evidence.results)
    layout: dict[str, Any] = {} if single else {"width_ratios": (3, 2)}
    axes = style.new_axes(figure, 1, 1 if single else 2, **layout)[0]
    values = axes[-1]
    for number, (_variant, found) in enumerate(rows.items()):
        line = style.line_style(number)
        if not single:
            _draw_curve(axes[0], ablation, [dict(row.curve) for row in found], line)
        _draw_value(values, number, ablation, [row.value for row in found], line)
    metric = label(ablation.metric, LONGEST_TITLE)
    if not single:
        style.describe(axes[0], x=label(ablation.x), y=metric)
    if ablation.logarithmic:
        values.set_xscale("log")
        _few_ticks(values.xaxis)
        if not single:
            axes[0].set_yscale("log")
            if ablation.trains:  # a run that explodes would hide the others
                first = max(row.curve[0][1] for row in evidence.results)
                axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 10 * first))
            _few_ticks(axes[0].yaxis)
    else:
        values.locator_params(axis="x", nbins=5)
    if not single:
        axes[0].locator_params(axis="x", integer=True)
    values.set_yticks(range(len(rows)), [label(name) for name in rows])
    for number, name in enumerate(values.get_yticklabels()):
        name.set_color(style.line_style(number)["color"])
    values.invert_yaxis()
    style.describe(values, x=f"{metric}\nat the end, 95 % interval")
    for file in files:
        style.save(figure, file)


def _draw_curve(
    axes: Any, ablation: Ablation, found: Sequence[dict[float, float]], line: dict[str, Any]
) -> None:
    xs = sorted(set.intersection(*(set(points) for points in found)))
    ys = np.array([[points[x] for x in xs] for points in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.exp(np.log(ys).mean(0)) if ablation.logarithmic else ys.mean(0)
    inside = line["color"] if line["linestyle"] == "-" else "white"
    marker = "." if len(xs) < 25 else ""
    axes.plot(xs, means, marker=marker, markerfacecolor=inside, **line)
    axes.fill_between(xs, ys.min(0), ys.max(0), color=line["color"], alpha=0.15, lw=0)


def _draw_value(
    axes: Any, number: int, ablation: Ablation, values: Sequence[float], line: dict[str, Any]
) -> None:
    color = line["color"]
    good = [value for value in values if math.isfinite(value)]
    if not good:
        words: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": color}
        axes.text(0.5, number, "not finite", ha="center", va="center", **words)
        return
    found = interval(good, log=_positive(ablation, good)).cut(ablation.bounds)
    reach = np.nan_to_num([[found.mean - found.low], [max(found.high - found.mean, 0.0)]])
    inside = color if line["linestyle"] == "-" else "white"
    axes.plot(good, [number] * len(good), "|", color=color, alpha=0.5)
    mark: dict[str, Any] = {"fmt": "o", "capsize": 3, "markerfacecolor": inside}
    axes.errorbar(found.mean, number, xerr=reach, color=color, **mark)


def _few_ticks(axis: Any) -> None:
    """Labels a logarithmic axis at 1, 2 and 5, or at the powers of ten of a long one."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    if 0 < low < high < 300 * low:
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _by_variant(ablation: Ablation, results: Sequence[Result]) -> dict[str, list[Result]]:
    """Returns the results by variant, in their order, and seed."""
    found = {
        variant: sorted(
            (row for row in results if row.task.variant == variant), key=lambda row: row.task.seed
        )
        for variant in ablation.variants
    }
    return {variant: rows for variant, rows in found.items() if rows}


def _write_csv(file: Path, head: Sequence[str], rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(csv_cell, head))
    writer.writerows(map(csv_cell, row) for row in rows)
    _write(file, text.getvalue())


def _write(file: Path, text: str) -> None:
    with whole_file(file) as stream:
        stream.write(text.encode())
