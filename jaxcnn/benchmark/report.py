"""Formats measurements as a table for people and as JSON for programs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxcnn.benchmark.machine import Roofline
from jaxcnn.benchmark.rounds import Contender, ratio

MANY = 20  # rows; with so many, the last line tells what nine in ten do not exceed


class Measured(NamedTuple):
    """Measurements of one network or operation, or of the input.

    Attributes:
      name: name of the row.
      batch: images per step.
      contenders: our contender first.
      times: seconds per step of each contender in each round.
      flops: floating-point operations of a step, 0 for operations and the input.
    """

    name: str
    batch: int
    contenders: Sequence[Contender]
    times: Mapping[str, Sequence[float]]
    flops: float = 0.0


def record(measured: Measured, roofline: Roofline | None) -> dict[str, Any]:
    """Returns the row as plain data.

    `arithmetic` is the share of the machine's matrix-product speed that the network's multiply-adds
    use; `memory` is the share of its bandwidth that the bytes counted by XLA use, cached or not.
    """
    ours = measured.contenders[0]
    rows = {}
    for contender in measured.contenders:
        times = measured.times[contender.name]
        median = statistics.median(times)
        row: dict[str, Any] = {
            "seconds": list(times),
            "images_per_s": measured.batch / median,
            "compile_s": contender.compile_s,
            "memory_bytes": contender.memory,
        }
        if contender is not ours:
            found = ratio(measured.times[ours.name], times)
            row["time_ratio"] = found._asdict()
        if roofline and measured.flops:
            row["arithmetic"] = measured.flops / median / roofline.flops
            if contender.bytes_accessed:
                row["memory"] = contender.bytes_accessed / median / roofline.bandwidth
        rows[contender.name] = row
    return {"name": measured.name, "batch": measured.batch, "contenders": rows}


def table(measured: Sequence[Measured], roofline: Roofline | None) -> str:
    """Returns the Markdown table, with the geometric mean of the ratios to each library."""
    lines = [
        "| | contender | ms/step | images/s | our time over theirs | compile s | memory GB "
        "| arithmetic | bandwidth |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    medians: dict[str, list[float]] = {}
    for one in measured:
        for name, row in record(one, roofline)["contenders"].items():
            found = ""
            if "time_ratio" in row:
                ours = one.times[one.contenders[0].name]
                found = str(ratio(ours, one.times[name]))
                medians.setdefault(_library(name), []).append(row["time_ratio"]["median"])
            memory = row["memory_bytes"]
            cells = [
                one.name,
                name,
                f"{1e3 * statistics.median(row['seconds']):.4g}",
                f"{row['images_per_s']:.4g}",
                found,
                f"{row['compile_s']:.1f}",
                "" if memory is None else f"{memory / 1e9:.2f}",
                _percent(row.get("arithmetic")),
                _percent(row.get("memory")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    for library, ratios in medians.items() if len(measured) > 1 else ():
        worst = max(ratios)
        text += (
            f"\nOur time over that of {library}, geometric mean of {len(ratios)}:"
            f" {statistics.geometric_mean(ratios):.2f}, the largest {worst:.2f}"
        )
        if len(ratios) >= MANY:
            text += f", of nine in ten at most {statistics.quantiles(ratios, n=10)[-1]:.2f}"
        text += ".\n"
    return text


def _library(name: str) -> str:
    """Returns the name without the form; all torch libraries are torch."""
    library = name.split(",")[0]
    return "torch" if library in ("torchvision", "timm") else library


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
