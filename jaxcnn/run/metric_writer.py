"""What a run says: lines on the terminal, and records in the workdir."""

import contextlib
import csv
import errno
import io
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxcnn.errors import EXIT_WORKDIR, UserError, printable
from jaxcnn.io import append, spinner, stdio
from jaxcnn.io.atomic import whole_file

LOG = logging.getLogger("jaxcnn")
MOST_BYTES_OF_A_RECORD = 1 << 20
Record = dict[str, Any]


class MetricWriter:
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
        self._place = append.identity(workdir)
        self._unwritten = b""
        self._warned = self._passed_over = False
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
        return spinner.waiting(what, self.say, self.progress if stdio.is_live(sys.stdout) else None)

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
                line = f"{error.strerror}; the run continues, see {self._path}"
                print(f"WARNING: {line}", file=sys.stderr, flush=True)

    def record(self, record: Record) -> None:
        """Appends a record: numbers and strings; `step` comes first.

        On a full disk that is said, and the record is written with a later one; see `write_csv`.

        Raises:
          UserError: if it cannot be written for another reason (exit code 73).
        """
        if not self._active:
            return
        self._unwritten += json.dumps(record).encode() + b"\n"
        self._append(last=False)
        if self._writer is not None:
            for key, value in record.items():
                if isinstance(value, (int, float)) and key != "step":
                    self._writer.add_scalar(key, value, record["step"])
            self._writer.flush()

    def _append(self, last: bool) -> None:
        if not self._unwritten:
            return
        try:
            self._check_place()
            append.append(self._path, self._unwritten)
        except OSError as error:
            if last or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise UserError(
                    f"cannot write {self._path}: {error.strerror}; fix this, then start the"
                    " run again: it continues from the last intact checkpoint",
                    EXIT_WORKDIR,
                ) from error
            if not self._warned:
                LOG.warning("cannot write %s yet: %s", self._path, error.strerror)
            self._warned = True
            return
        self._unwritten, self._warned = b"", False

    def _check_place(self) -> None:
        if append.identity(self._path.parent) != self._place:
            raise UserError(
                f"the workdir {self._path.parent} was removed or moved while the run was writing"
                " there: put it back, and give the same command again",
                EXIT_WORKDIR,
            )

    def records(self) -> list[Record]:
        """All whole records so far; a line cut short by a kill is not one.

        What else is not one, such as a line that is no UTF-8, is passed over, and that is said.
        """
        found, strange = [], 0
        for line in append.lines(self._path, MOST_BYTES_OF_A_RECORD):
            try:
                record = json.loads(line.decode())
                if not isinstance(record, dict) or type(record.get("step")) is not int:
                    raise ValueError("it has no step")
                found.append(record)
            except (ValueError, RecursionError):
                strange += line.endswith(b"\n")
        if strange and not self._passed_over:
            self._passed_over = True
            LOG.warning("%d lines of %s are no records and are left out", strange, self._path)
        return found

    def rewind(self, step: int, result: bool = True) -> None:
        """Drops the records past a step: the run is about to make them again.

        Args:
          step: that the run is at.
          result: keep a result at this step, which is of a shorter run, or drop it.

        Raises:
          UserError: if it cannot be written (exit code 73).
        """
        if self._active and self._path.exists():
            kept = [
                record
                for record in self.records()
                if record["step"] < step
                or (record["step"] == step and (result or "state_sha256" not in record))
            ]
            with whole_file(self._path, EXIT_WORKDIR) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in kept)

    def write_csv(self) -> None:
        """Writes all records to `metrics.csv`, one column per key, blank where it is missing.

        Raises:
          UserError: if it, or a record that waits for space, cannot be written (exit code 73).
        """
        if not self._active:
            return
        self._check_place()
        self._append(last=True)
        records = self.records()
        columns = list(dict.fromkeys(key for record in records for key in record))
        with whole_file(self._path.with_suffix(".csv"), EXIT_WORKDIR) as file:
            text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            writer.writerows(records)
            text.detach()

    def close(self) -> None:
        """Writes the CSV file and leaves the terminal on a fresh line."""
        with contextlib.suppress(UserError):  # of a full disk the run has said so already
            self.write_csv()
        if self._live:
            self._print("\n")
            self._live = False
        if self._writer is not None:
            self._writer.close()


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
