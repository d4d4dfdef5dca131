"""Writes the pages of docs/ablations/ and the table of docs/ablations.md.

python docs/ablations.py                        of the runs in docs/ablations/*.jsonl
python docs/ablations.py --add=runs/ablations   after it has copied those of finished ablations

A page has what the file in configs/ablations says, and what the runs showed. An ablation is
finished when all its runs are done.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from jaxcnn import ablation
from jaxcnn.ablation import evidence, figure, report, statistics
from jaxcnn.errors import UserError
from jaxcnn.figures.labels import cell

DOCS = Path(__file__).parent
PAGES = DOCS / "ablations"
FILES = sorted((DOCS.parent / "configs" / "ablations").glob("*.py"))
MARKS = "<!-- python docs/ablations.py -->", "<!-- end of the table -->"


def command(name: str) -> str:
    """Returns the command that repeats an ablation."""
    return f"python -m jaxcnn.ablate configs/ablations/{name}.py"


def stored_runs(file: Path, plan: ablation.Ablation) -> evidence.Evidence | None:
    """Returns what the runs of a file left, or None."""
    stored = PAGES / f"{file.stem}.jsonl"
    return evidence.read(stored, plan) if stored.exists() else None


def page(file: Path) -> str:
    """Returns the page of a file of configs/ablations."""
    plan, text = ablation.load(file)
    found = stored_runs(file, plan)
    if found is not None:
        return report.page(plan, text, found, f"{file.stem}.svg", command(file.stem))
    return report.plan_page(plan, text, command(file.stem))


def markdown() -> str:
    """Returns the count of verdicts, and the table of all statements."""
    rows, answered, total, left = [], 0, 0, []
    for file in FILES:
        plan, _ = ablation.load(file)
        total += len(plan.claims)
        found = stored_runs(file, plan)
        if found is None:
            left.append(file.stem)
            continue
        findings = statistics.judge(plan, found.values)
        answered += sum(one.answered for one in findings)
        rows += [
            f"| [{file.stem}](ablations/{file.stem}.md) | {report.statement(plan, one)}"
            f" | {cell(one.verdict)} |"
            for one in findings
        ]
    table = ["", "| ablation | statement | verdict |", "|---|---|---|", *rows] if rows else []
    parts = [f"{answered} of {total} statements have an answer.", *table, *_not_run(left)]
    return "\n".join(parts) + "\n"


def _not_run(names: list[str]) -> Iterator[str]:
    if names:
        listed = ", ".join(f"[{name}](ablations/{name}.md)" for name in names)
        yield ""
        yield f"Not run yet: {listed}."


def insert(text: str) -> str:
    """Returns docs/ablations.md with the table of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown()}\n", text, flags=re.DOTALL)


def add(folder: Path) -> None:
    """Copies the runs of ablations that are done, and draws their figures."""
    for file in FILES:
        source = folder / file.stem / "runs.jsonl"
        plan, text = ablation.load(file)
        if not source.exists():
            continue
        try:
            found = evidence.read(source, plan)
        except UserError as error:
            print(f"left out: {error}")
            continue
        counts = [len(found.values.get(variant, {})) for variant in plan.variants]
        if min(counts) < plan.seeds:
            print(f"left out: {source} lacks runs")
            continue
        evidence.save(PAGES / f"{file.stem}.jsonl", plan, found)
        figure.draw(plan, text, found, [PAGES / f"{file.stem}.svg"])


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--add", type=Path, help="folder with the results of jaxcnn.ablate")
    given = parser.parse_args().add
    PAGES.mkdir(exist_ok=True)
    if given is not None:
        add(given)
    for file in FILES:
        (PAGES / f"{file.stem}.md").write_text(page(file), encoding="utf-8")
    overview = DOCS / "ablations.md"
    overview.write_text(insert(overview.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
