"""Draws docs/figures/sanity.svg and writes the table of it in docs/inspect.md.

python docs/sanity.py

The numbers are those of docs/sanity/NETWORK.csv. For each of the networks they were measured by

  python -m jaxcnn.main --config=configs/NETWORK.py --workdir=runs/NETWORK
  python -m jaxcnn.explain --sanity --workdir=runs/NETWORK --split=test --index=0,1,2,3,4,5,6,7
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.figures import style
from jaxcnn.figures.sanity import Panel, draw_sanity

DOCS = Path(__file__).parent
FIGURE = DOCS / "figures" / "sanity.svg"
MARKS = "<!-- python docs/sanity.py -->", "<!-- end of the table -->"


class Checked(NamedTuple):
    """What was measured of a network; `two_images` by method, see `jaxcnn.attribution.sanity`."""

    panel: Panel
    two_images: dict[str, float]


def networks() -> list[Checked]:
    """Returns what was measured of each network, in the order of their names."""
    return [read(file) for file in sorted((DOCS / "sanity").glob("*.csv"))]


def read(file: Path) -> Checked:
    """Returns the numbers of one file of `jaxcnn.explain --sanity`."""
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    tables = [
        np.array([float(row[name]) for row in rows]).reshape(len(methods), len(layers))
        for name in ("rank_correlation", "ssim")
    ]
    failing = list(dict.fromkeys(row["method"] for row in rows if row["fails"] == "True"))
    panel = Panel(file.stem, methods, layers, tables[0], tables[1], failing)
    return Checked(panel, {row["method"]: float(row["two_images"]) for row in rows})


def markdown(found: list[Checked]) -> str:
    """Returns the table: a row for each method."""
    heads = [f"`{one.panel.network}`" for one in found]
    rows = [
        f"| method | {' | '.join(heads)} | fails |\n",
        f"| --- |{' --: |' * len(found)} --- |\n",
    ]
    for method in dict.fromkeys(name for one in found for name in one.panel.methods):
        cells = [_cell(one, method) for one in found]
        names = [one.panel.network for one in found if method in one.panel.failing]
        verdict = f"**fails** on {len(names)} of {len(found)}" if names else ""
        rows.append(f"| `{method}` | {' | '.join(cells)} | {verdict} |\n")
    return "".join(rows)


def _cell(one: Checked, method: str) -> str:
    panel = one.panel
    if method not in panel.methods:
        return "refused"
    place = panel.methods.index(method)
    half = (len(panel.layers) - 1) // 2
    values = (
        panel.rank_correlation[place, half],
        panel.ssim[place, half],
        one.two_images[method],
    )
    return " / ".join(f"{value:.2f}" for value in values)


def insert(text: str) -> str:
    """Returns a page with the table of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown(networks())}\n", text, flags=re.DOTALL)


if __name__ == "__main__":
    style.save(draw_sanity([one.panel for one in networks()]), FIGURE)
    page = DOCS / "inspect.md"
    page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
