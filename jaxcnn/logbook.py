"""What a run says: lines on the terminal, and records in the workdir."""

import contextlib
import csv
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxcnn import stdio, waits
from jaxcnn.errors import UserError, printable

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
        self.reader_gone: Callable[[], None] = lambda: None  # standard output is a closed pipe
        self._active = active
        self._mute = False
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
        self._print("\r\033[K" * self._live + printable(line) + "\n")
        self._live = False

    def progress(self, line: str) -> None:
        """Replaces the live line on a terminal; elsewhere prints a line."""
        if not stdio.is_live(sys.stdout):
            self.say(line)
        elif self._active:
            self._print("\r\033[K" + fit(printable(line), shutil.get_terminal_size().columns - 1))
            self._live = True

    def waiting(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Shows how long a step that prints nothing takes, if it takes long; see `waits`."""
        if not self._active:
            return contextlib.nullcontext()
        return waits.waiting(what, self.say, self.progress if stdio.is_live(sys.stdout) else None)

    def _print(self, text: str) -> None:
        """Prints, if that is possible: a run needs its workdir, and no reader.

        One warning says that it is not, on standard error. A pipe that is closed, as `head` does
        when it has seen enough, stops the run.
        """
        if not self._active or self._mute:
            return
        try:
            print(text, end="", flush=True)
        except OSError as error:
            self._mute = True
            stdio.silence()
            if error.errno == errno.EPIPE:
                self.reader_gone()
                return
            with contextlib.suppress(OSError):
                line = f"{error.strerror}; the run goes on, see {self._path}"
                print(f"WARNING: {line}", file=sys.stderr, flush=True)

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
            self._print("\n")
            self._live = False
        if self._writer is not None:
            self._writer.close()


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


# Parts of a line of progress that a narrow terminal has no place for, by how they begin or end.
OPTIONAL = ("epoch", "images/s", "top1", "left")


def fit(line: str, width: int) -> str:
    """Returns a line of parts with two spaces between them, as many of them as a width has."""
    parts = line.split("  ")
    for word in OPTIONAL:
        if len("  ".join(parts)) <= width:
            break
        parts = [part for part in parts if word not in part.split()]
    return "  ".join(parts)[: max(width, 0)]


def duration(seconds: float) -> str:
    """Returns "45 s", "12:05" (minutes) or "3:04:05" (hours)."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
