"""Writes the table of docs/digits.md: how every config ends on digits.

python docs/digits.py

The runs are those of `pytest -m exhaustive -k digits_config --done=FILE`, which adds a line to
docs/digits.jsonl for each; of several the last counts.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
MARKS = "<!-- python docs/digits.py -->", "<!-- end of the table -->"
BAR = 0.95  # least final test accuracy
# Deep networks without shortcuts, whose failure to train is a result of the ResNet paper.
BELOW = ("cifar_plain56", "cifar_plain110")


def measured() -> dict[str, dict[str, Any]]:
    """Returns the newest result of each config: test_top1, steps, seconds, core_seconds."""
    lines = (DOCS / "digits.jsonl").read_text(encoding="utf-8").splitlines()
    found = map(json.loads, lines)
    return {result.pop("config"): result for result in found}


def markdown() -> str:
    """Returns the table: one line for each file in configs/, in the order of their names."""
    rows = ["| config | final test accuracy | steps | seconds | core seconds |\n"]
    rows.append("| --- | --: | --: | --: | --: |\n")
    results = measured()
    for file in sorted((DOCS.parent / "configs").glob("*.py")):
        if found := results.get(file.stem):
            core = found.get("core_seconds", "")
            cells = f"{found['test_top1']:.2%} | {found['steps']:,} | {found['seconds']} | {core}"
        else:
            cells = "not measured | | |"
        rows.append(f"| `{file.stem}` | {cells} |\n")
    return "".join(rows)


def insert(text: str) -> str:
    """Returns a page with the table of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown()}\n", text, flags=re.DOTALL)


if __name__ == "__main__":
    page = DOCS / "digits.md"
    page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
