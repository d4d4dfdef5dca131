"""Writes a run's output: lines on the terminal and records in the workdir."""

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
      active: whether this process writes and prints; exactly one process does.
      tensorboard: whether to write event files to workdir/tensorboard too.

    Raises:
      UserError: if tensorboardX is needed and missing.
    """

    def __init__(self, workdir: Path, *, active: bool = True, tensorboard: bool = False):
        self.reader_gone: Callable[[], None] = lambda: None  # after a closed pipe
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
        """Prints a permanent line."""
        self._print("\r\033[K" * self._live + printable(line) + "\n")
        self._live = False

    def progress(self, line: str) -> None:
        """Replaces the live line on a terminal; prints a line elsewhere."""
        if not stdio.is_live(sys.stdout):
            self.say(line)
        elif self._active:
            self._print("\r\033[K" + fit(printable(line), shutil.get_terminal_size().columns - 1))
            self._live = True

    def waiting(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Shows the elapsed time if the context takes long; see `spinner.waiting`."""
        if not self._active:
            return contextlib.nullcontext()
        return spinner.waiting(what, self.say, self.progress if stdio.is_live(sys.stdout) else None)

    def _print(self, text: str) -> None:
        """Prints text; a failure does not stop the run.

        The first failure is reported on standard error. A closed pipe, such as that of `head`,
        stops the run.
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

        On a full disk it logs a warning and writes the record with a later one; see `write_csv`.

        Raises:
          UserError: if the record cannot be written for another reason (exit code 73).
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
        """Returns all complete records; a line cut short by a kill is left out.

        Other lines that are not records, such as invalid UTF-8, are left out with a warning.
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
        """Deletes the records after a step, because the run is about to repeat them.

        Args:
          step: current step of the run.
          result: whether to keep a result at this step, which a shorter run wrote.

        Raises:
          UserError: if the file cannot be written (exit code 73).
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
        """Writes all records to `metrics.csv`, one column per key; missing values are blank.

        Raises:
          UserError: if it, or a delayed record, cannot be written (exit code 73).
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
        """Writes the CSV file and ends the live line."""
        with contextlib.suppress(UserError):  # a full disk was already reported
            self.write_csv()
        if self._live:
            self._print("\n")
            self._live = False
        if self._writer is not None:
            self._writer.close()


# Parts of a progress line that a narrow terminal omits, by how they begin or end.
OPTIONAL = ("epoch", "images/s", "top1", "left")


def fit(line: str, width: int) -> str:
    """Returns the parts of a line, separated by two spaces, that fit into a width."""
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
