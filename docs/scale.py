"""Writes the tables of docs/scale.md: what many GPUs would need, from what one was measured to do.

python docs/scale.py
"""

import json
import math
import re
import runpy
from pathlib import Path

from jaxcnn.benchmark import scale
from jaxcnn.models import published

DOCS = Path(__file__).parent
MARKS = "<!-- python docs/scale.py -->", "<!-- end of the tables -->"
MEASURED = DOCS / "scale.json"  # python -m jaxcnn.benchmark --mode=scale … --json=docs/scale.json

RATES = runpy.run_path(str(DOCS / "reproduce.py"))["MEASURED"]  # images per second of one H100
BATCH = 256
DECODED = 438  # photographs per second and core; docs/performance.md, "Input"
IMAGES = 1_281_167  # of ImageNet's training set
# Published, bytes per second in one direction: NVLink 4 of a GPU, and a 400 Gb/s port for each.
NVLINK, PORT, NODE = 450e9, 50e9, 8
REACHED = 0.7  # share of a link's rate, assumed
LATENCY = 5e-6  # seconds of a step of a ring, assumed
LARGEST = 32_768  # images of a step at which ResNet-50 still learns, You et al., 1709.05011


def all_reduce(size: float, devices: int) -> float:
    """Returns seconds for the mean of `size` bytes: rings within a node, then between nodes."""
    inside, nodes = min(devices, NODE), math.ceil(devices / NODE)
    within = 2 * (inside - 1) * (size / inside / (REACHED * NVLINK) + LATENCY)
    between = 2 * (nodes - 1) * (size / inside / nodes / (REACHED * PORT) + LATENCY)
    return within + between


def efficiency(name: str, devices: int, batch: int = BATCH) -> float:
    """Returns the share of a step that is not the mean of the gradients, float32, if it waits.

    The step of a batch of other sizes takes time in proportion.
    """
    compute = batch / RATES[name]
    return compute / (compute + all_reduce(4 * _parameters(name), devices))


def _parameters(name: str) -> int:
    return published.networks()[name]["params"]


def markdown() -> str:
    """Returns the tables."""
    counts = (8, 64, 1024)
    rows = [
        "### Mean of the gradients",
        "",
        "| | MB of gradients | ms of a step | "
        + " | ".join(f"ms for {count:,} GPUs, efficiency" for count in counts)
        + " |",
        "|---|--:|--:|" + "--:|" * len(counts),
    ]
    for name, rate in RATES.items():
        size = 4 * _parameters(name)
        cells = (
            f"{1e3 * all_reduce(size, count):.1f}, {efficiency(name, count):.3f}"
            for count in counts
        )
        rows.append(
            f"| {name} | {size / 1e6:.0f} | {1e3 * BATCH / rate:.1f} | {' | '.join(cells)} |"
        )
    rows += [
        "",
        "### ResNet-50",
        "",
        f"| GPUs | images of a step ({BATCH} each) | steps of an epoch | seconds of an epoch |"
        " cores to decode | bytes read per second |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for count in (1, *counts):
        rate = RATES["resnet50"] * count * (efficiency("resnet50", count) if count > 1 else 1)
        rows.append(
            f"| {count:,} | {BATCH * count:,} | {IMAGES // (BATCH * count):,} |"
            f" {IMAGES / rate:,.1f} | {rate / DECODED:,.0f} | {rate * 110e3 / 1e9:,.1f} GB |"
        )
    each = LARGEST // 1024
    rows += [
        "",
        f"With at most {LARGEST:,} images in a step, 1,024 GPUs have {each} each: a step takes"
        f" {1e3 * each / RATES['resnet50']:.1f} ms at best, the mean of the gradients"
        f" {1e3 * all_reduce(4 * _parameters('resnet50'), 1024):.1f} ms, the efficiency is at most"
        f" {efficiency('resnet50', 1024, each):.2f}.",
    ]
    return "\n".join(rows + _measured()) + "\n"


def _measured() -> list[str]:
    """Returns a table for each network that several processes of one machine trained."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    about, batch = found.pop("machine"), found.pop("batch")
    del found["mode"]
    machine = ", ".join(f"{key} {value}" for key, value in about.items())
    rows = ["", "### Several processes", "", f"{batch} images for each process; {machine}."]
    for name, each in found.items():
        rows += ["", f"{name}:", "", scale.table([scale.Scaled(**row) for row in each])]
    return rows


def insert(text: str) -> str:
    """Returns docs/scale.md with the tables of today between its marks."""
    before, after = MARKS
    pattern = f"(?<={re.escape(before)}).*(?={re.escape(after)})"
    return re.sub(pattern, lambda _: f"\n\n{markdown()}\n", text, flags=re.DOTALL)


if __name__ == "__main__":
    page = DOCS / "scale.md"
    page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
