"""Whole runs in processes of their own, as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# A DenseNet of a few thousand parameters that uses everything a state can hold.
TINY = (
    f"--config={ROOT}/configs/densenet_40_12.py",
    "--config.model.overrides.growth_rate=4",
    "--config.model.overrides.stage_sizes=(1,2)",
    "--config.model.overrides.dropout_rate=0.2",
    "--config.data.image_size=8",
    "--config.data.pad=1",
    "--config.data.preprocess=zca",
    "--config.data.repeats=2",
    "--config.data.mixup=0.2",
    "--config.data.cutmix=1.0",
    "--config.data.random_erasing=0.2",
    "--config.data.holdout=800",
    "--config.schedule.name=plateau",
    "--config.schedule.patience=1",
    "--config.train.ema_decay=0.9",
    "--config.train.length=24steps",
    "--config.eval.every=6steps",
    "--config.checkpoint.every=3steps",
    "--config.log.every=1steps",
)


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process that sees so many CPU devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "PYTHONUNBUFFERED": "1"}


def start(*flags: str, devices: int = 1) -> subprocess.Popen:
    """Starts the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxcnn.main", *flags],
        cwd=ROOT,
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> tuple[str, str]:
    """Waits for a process; returns what it printed."""
    out, err = process.communicate(timeout=500)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def records(workdir: Path) -> list[dict]:
    """The whole lines of metrics.jsonl."""
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def lasting(workdir: Path) -> list[dict]:
    """The records without what depends on the time and memory that a run takes."""
    times = ("images_per_second", "waiting_for_data", "peak_memory")
    return [
        {key: value for key, value in record.items() if key not in times}
        for record in records(workdir)
    ]


def losses(workdir: Path) -> list[float]:
    """The training losses of a run that logs every step."""
    return [record["train/loss"] for record in records(workdir) if "train/loss" in record]


def digest_of_newest(workdir: Path) -> dict[str, str]:
    """SHA-256 of every array of the newest checkpoint: parameters, statistics, optimizer, EMA."""
    steps = [path for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal()]
    newest = max(steps, key=lambda path: int(path.name))
    saved = json.loads((newest / "digests" / "metadata").read_text())
    return {
        "newest": newest.name,
        **{name: entry["sha256"] for name, entry in saved.items() if name != "seal"},
    }
