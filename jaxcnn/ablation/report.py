"""What an ablation found, as text: results.md, results.csv, curves.csv.

`statistics` has the rules, `evidence` what the texts are made of.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.evidence import Evidence, by_variant, save
from jaxcnn.ablation.sizes import Size
from jaxcnn.ablation.statistics import UNSEEN, Finding, Interval, interval, judge, shown
from jaxcnn.figures.labels import cell
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.safe_files import csv_cell

_NOTHING = Interval(math.nan, math.nan, math.nan)


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
        f"Not run yet. What will be compared is {cell(ablation.quantity)}: "
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
        f"| statement about {cell(ablation.quantity)} | {'ratio' if ratio else 'difference'}"
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
    rows = by_variant(ablation, evidence.results)
    show = {
        "ms per step": any(not math.isnan(row.step_ms) for row in evidence.results),
        f"epochs to loss {ablation.loss_threshold:g}": any(
            not math.isnan(row.epochs) for row in evidence.results
        ),
        "tuned": bool(ablation.tune),
        "lost": any(not math.isfinite(row.value) for row in evidence.results),
    }
    used = [name for name, there in show.items() if there]
    value_name = f"{cell(ablation.quantity)} (95 % interval)"
    head = ["variant", "parameters", "multiply-adds", *used, "seeds", value_name]
    lines = [_row(head), "|---" + "|--:" * (len(head) - 1) + "|"]
    for variant, found in rows.items():
        size = evidence.sizes[variant]
        good = [row.value for row in found if math.isfinite(row.value)]
        cells = {
            "ms per step": _median([row.step_ms for row in found]),
            f"epochs to loss {ablation.loss_threshold:g}": _median([row.epochs for row in found]),
            "tuned": cell(", ".join(map(str, found[0].fields.values()))),
            "lost": str(len(found) - len(good)),
        }
        value = interval(good, log=ablation.logarithmic) if good else _NOTHING
        shape = [cell(variant), f"{size.parameters:,}", f"{size.macs:,}"]
        end = [str(len(found)), str(value.cut(ablation.bounds))]
        lines.append(_row([*shape, *(cells[name] for name in used), *end]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _median(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    middle = float(np.median(known))
    return "more" if math.isinf(middle) else shown(middle, middle / 10)


def _write_csv(file: Path, head: Sequence[str], rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(csv_cell, head))
    writer.writerows(map(csv_cell, row) for row in rows)
    _write(file, text.getvalue())


def _write(file: Path, text: str) -> None:
    with whole_file(file) as stream:
        stream.write(text.encode())
