"""Writes docs/networks/: a page for each paper, what is often said wrong, and an overview.

python docs/gallery.py

All networks are traced, which takes minutes; nothing is computed. What is found goes to
docs/gallery.json and the diagrams. The words are in docs/gallery.toml, published figures in
jaxcnn/models/published.json, the time line is of docs/timeline.py.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.analysis import layer_table, receptive_fields
from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.config import datasets
from jaxcnn.config.recipes import NETWORKS, recipe_file, recipes_of
from jaxcnn.errors import UserError
from jaxcnn.figures import layers, structure
from jaxcnn.models import create_model, model_info
from jaxcnn.models.published import networks, papers

DOCS = Path(__file__).parent
PAGES, MEASURED = DOCS / "networks", DOCS / "gallery.json"
# Lines of Python of the statements are true after these.
IMPORTS = (
    "from flax import linen as nn",
    "from jaxcnn import create_model, model_info",
    "from jaxcnn.analysis import summary",
)
WITHOUT_WORDS = {"idea": "", "errors": "", "train": [], "ablations": [], "statements": []}
NAVIGATION = "    # python docs/gallery.py\n", "    # end of the pages\n"  # in mkdocs.yml
UNIT = "_unit"  # ends the name of the diagram of a unit


def words() -> dict[str, Any]:
    """Returns docs/gallery.toml."""
    return tomllib.loads((DOCS / "gallery.toml").read_text(encoding="utf-8"))


def pages() -> dict[str, dict[str, Any]]:
    """Returns the words of each page, in the order of the papers.

    A page is named as the file of its networks in jaxcnn/models/. For papers without words it has
    what is in published.json.
    """
    found = {key: value for key, value in words().items() if isinstance(value, dict)}
    written = {paper for own in found.values() for paper in own["papers"]}
    for name, row in networks().items():
        if row["paper"] not in written:
            key, paper = recipe_file(name), row["paper"]
            found.setdefault(key, {"papers": [], "shown": name, "title": papers()[paper]["title"]})
            found[key]["papers"].append(paper)
            written.add(paper)
    found = {key: WITHOUT_WORDS | own for key, own in found.items()}
    of = {key: papers()[own["papers"][0]] for key, own in found.items()}
    order = sorted(found, key=lambda key: (of[key]["year"], of[key]["arxiv"] or ""))
    return {key: found[key] for key in order}


def date(paper: str) -> str:
    """Returns year and month of a paper, as far as they are known: "2014-09", "1998"."""
    row = papers()[paper]
    number = row["arxiv"]
    return f"{row['year']}-{number[2:4]}" if number else str(row["year"])


def members(words: dict[str, Any]) -> list[str]:
    """Returns the networks of a page."""
    return [name for name, row in networks().items() if row["paper"] in words["papers"]]


# What is measured ----------------------------------------------------------------------------


def graph_of(name: str) -> Any:
    """Returns the traced network of a name, for images of the published size."""
    return trace_shapes(create_model(name), model_info(name).input_size)


def field_of(name: str) -> list[int] | None:
    """Returns size and stride of the receptive field of the last maps; None without maps."""
    graph = graph_of(name)
    try:
        last = graph.last_maps()
    except UserError:  # of dense layers alone
        return None
    field = receptive_fields.of_graph(graph)[last]
    return [field.size[0], int(field.stride[0])]


def layers_of(name: str) -> dict[str, Any]:
    """Returns the layer table of a network, as lines of Markdown, and its notes."""
    summary = layer_table.of_graph(graph_of(name))
    notes = [note for note in summary.notes if "direct connections" not in note]
    return {"table": layers.markdown(summary).splitlines(), "notes": notes}


def diagrams(key: str) -> Iterator[tuple[str, str]]:
    """Yields names without ending and SVG of the diagrams of a page."""
    page = pages()[key]
    yield key, _on_white(structure.of_graph(graph_of(page["shown"]), 0))
    if unit := page.get("unit"):
        name, _, module = unit.rpartition(":")
        graph = graph_of(name or page["shown"])
        yield key + UNIT, _on_white(structure.of_graph(graph, page.get("unit_depth", 0), module))


def _on_white(svg: str) -> str:
    """Returns a diagram on white paper, which a dark page needs, in pixels instead of points."""
    svg = re.sub(r'(width|height)="(\d+)pt"', r'\1="\2"', svg, count=2)
    svg = re.sub(r"<!--.*?-->\n| xml:space=\"preserve\"", "", svg, flags=re.DOTALL)
    head, start, rest = svg.partition(">\n")
    return f'{head}{start}<rect x="0" y="0" width="100%" height="100%" fill="white"/>\n{rest}'


# What is written -----------------------------------------------------------------------------


def page(key: str, measured: dict[str, Any]) -> str:
    """Returns the page of a paper.

    Args:
      key: of docs/gallery.toml.
      measured: docs/gallery.json.
    """
    own = pages()[key]
    shown, found = own["shown"], measured["layers"][key]
    parts = [
        "---\nhide: [toc]\n---\n",
        f"# {own['title']}\n",
        f"{own['idea']}\n" if own["idea"] else "",
        *_sources(own),
        *_pictures(key, own),
        f"## Layers of `{shown}`\n",
        _table(found["table"]),
        f"{found['notes'][0].capitalize()}{'; '.join(['', *found['notes'][1:]])}.\n",
        "## Variants\n",
        *_variants(members(own), measured["receptive_fields"]),
        f"{own['errors']}\n" if own["errors"] else "",
        "## Training\n",
        *_training(own),
        *_statements("Where descriptions go wrong", own["statements"]),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _sources(own: dict[str, Any]) -> Iterator[str]:
    named = (papers()[name] for name in own["papers"])
    source = "{authors}, [{title}]({url}), {year}."
    file = recipe_file(own["shown"])
    yield (
        f"{' '.join(source.format(**paper) for paper in named)}"
        f" In the code: `jaxcnn/models/{file}.py` and `jaxcnn/config/recipes/{file}.py`, whose"
        " first lines say what is the paper's and what is ours.\n"
    )


def _pictures(key: str, own: dict[str, Any]) -> Iterator[str]:
    shown = own["shown"]
    yield '<div class="diagrams" markdown>\n'
    yield f"![The layers of {shown} as boxes, from the image down]({key}.svg)"
    if unit := own.get("unit"):
        name, _, module = unit.rpartition(":")
        yield f"![The layers inside {module} of {name or shown}]({key}{UNIT}.svg)"
    yield "\n</div>\n"
    right = f"; right, inside `{module}` of `{name or shown}`" if unit else ""
    left_out = " Parts that only train are not drawn." if model_info(shown).params_with_aux else ""
    yield f"`{shown}`{right}. Arrows carry the shapes of the maps.{left_out}\n"


def _variants(names: Sequence[str], fields: dict[str, Any]) -> Iterator[str]:
    protocols: dict[str, str] = {}  # and the letter of each
    head = "parameters | GMACs | receptive field | error, top-1 / top-5 %"
    lines = [f"| network | what it is | {head} |", "|---|---|--:|--:|--:|--:|"]
    for name in names:
        row, field = networks()[name], fields[name]
        sees = f"{field[0]:,}" if field else ""
        error = _error(row)
        if error:
            protocol = f"{row['dataset']}, {row['crop_protocol']}"
            letter = protocols.setdefault(protocol, chr(ord("a") + len(protocols)))
            error += f" ({letter})"
        counts = f"{row['params']:,} | {row['macs'] / 1e9:#.4g}"
        lines.append(f"| `{name}` | {row['title']} | {counts} | {sees} | {error} |")
    yield _table(lines)
    if protocols:
        listed = "; ".join(f"({letter}) {text}" for text, letter in protocols.items())
        yield f"Published errors, each of one network: {listed}.\n"


def _table(lines: Sequence[str]) -> str:
    """Returns a table whose first column is not broken."""
    table = "\n".join(lines)
    return f'<div class="figures" markdown>\n\n{table}\n\n</div>\n'


def _error(row: dict[str, Any]) -> str:
    """Returns published errors, "" if there are none."""
    top1, top5 = row["top1_err"], row["top5_err"]
    if isinstance(top1, dict):  # by the size of the images
        return ", ".join(f"{error} at {size}" for size, error in top1.items())
    if top1 is None and top5 is None:
        return ""
    return f"{'–' if top1 is None else top1}" + ("" if top5 is None else f" / {top5}")


def _training(own: dict[str, Any]) -> Iterator[str]:
    lines = []
    stems = {network: config for config, network in NETWORKS.items()}
    for config in own["train"] or [stems.get(own["shown"], own["shown"])]:
        offered, command = recipes_of(config), f"python -m jaxcnn.main --config=configs/{config}.py"
        lines.append((command, "digits, offline"))
        published = [name for name in datasets.DATASETS if name in offered.published]
        lines += [(f"{command}:{name}", "the paper's recipe") for name in published]
    width = max(len(line) for line, _ in lines)
    yield "```sh\n" + "\n".join(f"{line:<{width}}  # {text}" for line, text in lines) + "\n```\n"
    yield "Other variants: their names in `configs/`. [Training](../training.md) has the flags.\n"
    if own["ablations"]:
        listed = ", ".join(f"[{name}](../ablations/{name}.md)" for name in own["ablations"])
        yield f"Experiments on what the paper says: {listed}.\n"


def _statements(title: str, rows: Sequence[dict[str, str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"## {title}\n"
    yield from (f"- *{row['said']}* {row['fact']} Shown by `{row['shown']}`." for row in rows)
    needed = [line for line in IMPORTS if any(_needs(row["shown"], line) for row in rows)]
    if needed:
        yield f"\nLines of Python are true after `{'; '.join(needed)}`."


def _needs(shown: str, line: str) -> bool:
    names = line.partition(" import ")[2].split(" as ")[-1].split(", ")
    return any(re.search(rf"\b{name}\b[(.]", shown) for name in names)


def misconceptions() -> str:
    """Returns the page of all statements: those of no paper, and where the others are."""
    found, count = words()["general"], sum(len(own["statements"]) for own in pages().values())
    rows = [
        f"| [{own['title']}]({key}.md) | {'<br>'.join(row['said'] for row in own['statements'])} |"
        for key, own in pages().items()
        if own["statements"]
    ]
    return "\n".join(
        [
            "---\nhide: [toc]\n---\n",
            "# Where descriptions go wrong\n",
            "What is often said of these networks, in *italics*, and what is the case. Behind each"
            " is a test of this repository or a line of Python that shows it.\n",
            *_statements("In general", found),
            "\n## Of single networks\n",
            f"The pages have the facts on {count} statements.\n",
            _table(["| page | what is said |", "|---|---|", *rows]),
        ]
    )


def index() -> str:
    """Returns the overview: a line for each paper, the time line, the ensembles."""
    rows = []
    for key, own in pages().items():
        row = networks()[own["shown"]]
        error = _error(row).partition(" at ")[0]
        measured = f"{row['dataset'].split()[0]} {error}" if error else ""
        rows.append(
            f"| [{own['title']}]({key}.md) | {date(own['papers'][0])} | {own['idea']} |"
            f" `{own['shown']}` | {row['params']:,} | {row['macs'] / 1e9:#.3g} | {measured} |"
        )
    ensembles = [
        f"| {papers()[row['paper']]['year']} | {row['who']} | {row['top5']} | {row['split']} |"
        for row in words()["ensembles"]
    ]
    return INDEX.format(papers=_table([*PAPERS, *rows]), ensembles=_table([*ENSEMBLES, *ensembles]))


INDEX = """---
hide: [toc]
---

# Networks

A page for each paper: the structure, the layers, all variants with their counts and published
errors, how to train them, and where common descriptions go wrong.
[All networks](all.md) has a line for each name, and the fields of each class.
[Where descriptions go wrong](misconceptions.md) has the statements of all pages.

## Time line

![Published errors and cost of the networks, from 1998 to 2017](timeline.svg)

Each column is a paper. Filled marks are single networks, hollow squares are ensembles: most of them
entered the ILSVRC contest. Errors by different protocols do not compare. Network in Network and
MobileNet have no top-5 error in their papers. On small images Network in Network and deep
supervision are without augmentation; Ladder networks have 4,000 labels of CIFAR-10, 100 of MNIST.

{ensembles}
## Papers

One network of each, with its published error, top-1 / top-5 in percent; the page has the protocol.

{papers}"""
ENSEMBLES = ("| year | ensemble | top-5 error, % | ILSVRC |", "|---|---|--:|---|")
PAPERS = (
    "| page | date | what is new | network | parameters | GMACs | error, % |",
    "|---|---|---|---|--:|--:|---|",
)


def navigation() -> str:
    """Returns mkdocs.yml with all pages between its marks."""
    text = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    before, after = NAVIGATION
    lines = "".join(f"    - {own['title']}: networks/{key}.md\n" for key, own in pages().items())
    start, end = text.index(before) + len(before), text.index(after)
    return text[:start] + lines + text[end:]


def texts(measured: dict[str, Any]) -> dict[str, str]:
    """Returns all pages by file name."""
    own = {f"{key}.md": page(key, measured) for key in pages()}
    return own | {"misconceptions.md": misconceptions(), "index.md": index()}


def main() -> None:
    """Measures all networks, and writes what is found, the diagrams and the pages."""
    found = {
        "receptive_fields": {name: field_of(name) for name in networks()},
        "layers": {key: layers_of(own["shown"]) for key, own in pages().items()},
    }
    MEASURED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for key in pages():
        for name, svg in diagrams(key):
            (PAGES / f"{name}.svg").write_text(svg, encoding="utf-8")
    for name, text in texts(found).items():
        (PAGES / name).write_text(text, encoding="utf-8")
    (DOCS.parent / "mkdocs.yml").write_text(navigation(), encoding="utf-8")


if __name__ == "__main__":
    main()
