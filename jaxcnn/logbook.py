"""What a run says: lines on the terminal, and records in the workdir."""

import contextlib
import csv
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from jaxcnn.errors import UserError

Record = dict[str, Any]


class Logbook:
    """Writes `metrics.jsonl` (one record per line), `metrics.csv` and, if asked, TensorBoard files.

    Args:
      workdir: an existing directory.
      active: False on all processes but one: nothing is written or printed.
      tensorboard: also write event files to workdir/tensorboard.

    Raises:
      UserError: if TensorBoard is asked for and tensorboardX is missing.
    """

    def __init__(self, workdir: Path, *, active: bool = True, tensorboard: bool = False):
        self._active = active
        self._path = workdir / "metrics.jsonl"
        self._live = False
        self._writer: Any = None
        if tensorboard and active:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise UserError(
                    "log.tensorboard needs tensorboardX: pip install 'jaxcnn[tensorboard]'"
                ) from None
            self._writer = SummaryWriter(str(workdir / "tensorboard"))

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        if self._active:
            print("\r\033[K" * self._live + line, flush=True)
            self._live = False

    def progress(self, line: str) -> None:
        """Replaces the live line on a terminal; elsewhere prints a line."""
        if not sys.stdout.isatty():
            self.say(line)
        elif self._active:
            width = shutil.get_terminal_size().columns - 1
            print("\r\033[K" + line[:width], end="", flush=True)
            self._live = True

    def record(self, record: Record) -> None:
        """Appends a record: numbers and strings; `step` comes first."""
        if not self._active:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        if self._writer is not None:
            for key, value in record.items():
                if isinstance(value, (int, float)) and key != "step":
                    self._writer.add_scalar(key, value, record["step"])
            self._writer.flush()

    def records(self) -> list[Record]:
        """All whole records so far; a line cut short by a kill is not one."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def rewind(self, step: int) -> None:
        """Drops the records past a step: the run is about to make them again."""
        if self._active and self._path.exists():
            kept = [record for record in self.records() if record["step"] <= step]
            _replace(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_csv(self) -> None:
        """Writes all records to `metrics.csv`, one column per key, blank where it is missing."""
        if not self._active:
            return
        records = self.records()
        columns = list(dict.fromkeys(key for record in records for key in record))
        target = self._path.with_suffix(".csv")
        partial = target.with_suffix(".csv.partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(records)
        os.replace(partial, target)

    def close(self) -> None:
        """Writes the CSV file and leaves the terminal on a fresh line."""
        with contextlib.suppress(OSError):  # of a full disk the run has said so already
            self.write_csv()
        if self._live:
            print(flush=True)
            self._live = False
        if self._writer is not None:
            self._writer.close()


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def duration(seconds: float) -> str:
    """Returns "45 s", "12:05" (minutes) or "3:04:05" (hours)."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
