"""The table of networks of docs/networks.md, as Markdown.

python -m jaxcnn.models.table                     prints it
python -m jaxcnn.models.table docs/networks.md   puts it between the marks of that file
"""

import re
import sys
from pathlib import Path

from jaxcnn.models.published import model_info, networks, papers

MARKS = "<!-- python -m jaxcnn.models.table -->", "<!-- end of the table -->"

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


def insert(text: str) -> str:
    """Returns a text with the table of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown()}\n", text, flags=re.DOTALL)


def _cells(name: str) -> list[str]:
    info = model_info(name)
    authors = papers()[networks()[name]["paper"]]["authors"]
    measured = info.crop_protocol is not None
    return [
        f"`{name}`",
        f"[{authors}]({info.url})",
        str(info.year),
        f"{info.params:,}",
        f"{info.macs / 1e9:#.4g}",
        f"{_percent(info.top1_err)} / {_percent(info.top5_err)}" if measured else "",
        f"{info.dataset}, {info.crop_protocol}" if measured else "",
        info.verified,
    ]


def _percent(error: float | None) -> str:
    return "-" if error is None else str(error)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        readme = Path(sys.argv[1])
        readme.write_text(insert(readme.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.buffer.write(markdown().encode())
