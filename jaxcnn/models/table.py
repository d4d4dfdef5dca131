"""Makes the tables of docs/networks/all.md in Markdown: all networks, and the fields of each class.

python -m jaxcnn.models.table                        prints the table of networks
python -m jaxcnn.models.table docs/networks/all.md   writes both between the marks of that file
"""

import dataclasses
import re
import sys
from pathlib import Path

from jaxcnn.models import MODELS, create_model
from jaxcnn.models.network import NormNetwork
from jaxcnn.models.published import networks, papers, published_info

END = "<!-- end of the table -->"
MARK = "<!-- python -m jaxcnn.models.table -->"
FIELDS_MARK = "<!-- python -m jaxcnn.models.table: fields -->"
# Fields of all or nearly all networks.
SHARED = {one.name for one in dataclasses.fields(NormNetwork)}

COLUMNS = {
    "network": "---",
    "paper": "---",
    "year": "---",
    "parameters": "--:",
    "GMACs": "--:",
    "error, top-1 / top-5 %": "--:",
    "measured on": "---",
    "verified against": "---",
}


def markdown() -> str:
    """Returns the heading and one line per network, in the order of the papers."""
    rows = [list(COLUMNS), list(COLUMNS.values()), *(_cells(name) for name in networks())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def fields_markdown() -> str:
    """Returns one line per class: its networks, and the fields that only some classes have."""
    names: dict[str, list[str]] = {}
    fields: dict[str, list[str]] = {}
    for name in MODELS:
        network = create_model(name)
        kind = type(network).__name__
        names.setdefault(kind, []).append(f"`{name}`")
        own = [one.name for one in dataclasses.fields(network) if one.name not in SHARED]
        fields[kind] = [f"`{field}`" for field in own]
    rows = [["class", "networks", "fields"], ["---"] * 3]
    rows += [[f"`{kind}`", " ".join(names[kind]), " ".join(fields[kind])] for kind in names]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def insert(text: str) -> str:
    """Returns a page with the current tables between their marks."""
    for mark, table in ((FIELDS_MARK, fields_markdown()), (MARK, markdown())):
        pattern = f"(?<={re.escape(mark)}).*?(?={re.escape(END)})"
        found = f"\n\n{table}\n"
        text = re.sub(pattern, found.replace("\\", r"\\"), text, flags=re.DOTALL)
    return text


def _cells(name: str) -> list[str]:
    info, row = published_info(name), networks()[name]
    first, *others = papers()[row["paper"]]["authors"].split(", ")
    authors = f"{first} et al." if others else first
    measured = info.crop_protocol is not None
    return [
        f"`{name}`",
        f"[{authors}]({info.url})",
        str(info.year),
        f"{info.params:,}",
        f"{row['macs'] / 1e9:#.4g}",
        f"{_percent(info.top1_err)} / {_percent(info.top5_err)}" if measured else "",
        f"{info.dataset}, {info.crop_protocol}" if measured else "",
        row["verified"],
    ]


def _percent(error: float | None) -> str:
    return "-" if error is None else str(error)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.buffer.write(markdown().encode())
