"""Weak scaling on one machine: images per second of several processes, each with its own images.

The processes train as in a run on several machines: they average their gradients over loopback.
Each one has the same number of cores, or shares them where there are more processes than cores.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.run.metric_writer import MetricWriter

RECORDS, STEPS = 6, 10  # of training: the first record, of STEPS steps, does not count


class Scaled(NamedTuple):
    """The speed of some processes.

    Attributes:
      processes: how many.
      cores: of each process; a part if they share them.
      images_per_second: of all together, the median over the records.
      least: the smallest of the records.
      most: the largest.
    """

    processes: int
    cores: float
    images_per_second: float
    least: float
    most: float


def parse_processes(text: str) -> list[int]:
    """Returns the numbers of processes of "1,2,4".

    Raises:
      UserError: for anything else; the first must be 1, with which the others are compared.
    """
    parts = text.split(",")
    counts = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(counts) < len(parts) or counts[:1] != [1] or not all(1 <= n <= 64 for n in counts):
        raise UserError(f"--processes={text}: write numbers up to 64 that begin with 1, as 1,2,4")
    return list(dict.fromkeys(counts))


def measure(name: str, counts: Sequence[int], batch: int, size: int, dtype: str) -> list[Scaled]:
    """Trains a network in each number of processes; prints which one is at work.

    Args:
      name: of the network.
      counts: numbers of processes.
      batch: images of a step, of each process.
      size: side of the images; 0 is that of the synthetic data, 32.
      dtype: of the computation.

    Raises:
      UserError: if a process fails.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    each = max(len(cores) // max(counts), 1)
    found = []
    for count in counts:
        print(f"{name}: {count} process{'es' * (count > 1)} …", file=sys.stderr, flush=True)
        flags = [
            f"--config={name}:synthetic",
            f"--config.train.batch_size={batch * count}",
            f"--config.train.length={RECORDS * STEPS}steps",
            f"--config.log.every={STEPS}steps",
            f"--config.model.dtype={dtype}",
            "--config.eval.every=never",
            "--config.checkpoint.every=never",
        ]
        flags += [f"--config.data.image_size={size}"] * bool(size)
        with tempfile.TemporaryDirectory() as folder:
            _train(flags, count, Path(folder), cores, each)
            records = MetricWriter(Path(folder) / "run", active=False).records()
        rates = [r["images_per_second"] for r in records if "images_per_second" in r][1:]
        shared = min(each, len(cores) / count) if cores else float("nan")
        found.append(
            Scaled(count, shared, float(np.median(rates)), float(min(rates)), float(max(rates)))
        )
    return found


def _train(flags: Sequence[str], count: int, folder: Path, cores: Sequence[int], each: int) -> None:
    """Runs `jaxcnn.main` in some processes of this machine.

    Raises:
      UserError: with the last line of the first process that failed.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "-m", "jaxcnn.main", *flags, f"--workdir={folder / 'run'}"]
    started = []
    try:
        for number in range(count):
            place = [f"--coordinator={address}", f"--num_processes={count}"]
            place.append(f"--process_id={number}")
            with (folder / f"{number}.log").open("wb") as log:
                child = subprocess.Popen(  # noqa: S603
                    [*command, *place * (count > 1)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "JAX_PLATFORMS": "cpu"},
                )
            started.append(child)
            if cores:
                mine = {cores[(number * each + i) % len(cores)] for i in range(each)}
                os.sched_setaffinity(child.pid, mine)
        codes = [child.wait() for child in started]
    finally:
        for child in started:
            child.kill()
    for number, code in enumerate(codes):
        if code:
            lines = (
                (folder / f"{number}.log")
                .read_text(encoding="utf-8", errors="replace")
                .strip()
                .splitlines()
            )
            reason = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
            raise UserError(f"process {number} of {count} failed: {reason}")


def table(found: Sequence[Scaled]) -> str:
    """Returns the speeds as Markdown: in all, of each core, and beside the first row's."""
    rows = [
        "| processes | cores of each | images/s (least to most) | efficiency | by core |",
        "|--:|--:|--:|--:|--:|",
    ]
    one = found[0]
    for row in found:
        by_process = row.images_per_second / (row.processes * one.images_per_second)
        by_core = by_process * one.cores / row.cores
        rows.append(
            f"| {row.processes} | {row.cores:g} | {row.images_per_second:,.0f} ({row.least:,.0f} to"
            f" {row.most:,.0f}) | {by_process:.2f} | {by_core:.2f} |"
        )
    return "\n".join(rows)


def as_record(found: Sequence[Scaled]) -> list[dict[str, Any]]:
    """Returns the speeds as plain data."""
    return [row._asdict() for row in found]
