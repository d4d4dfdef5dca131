"""A data set in preparation, in a hidden folder beside its final place until it is complete.

  DATA_DIR/NAME/.VERSION.incomplete/   plan.json, lock, done/SHARD.json, data/SHARD
  DATA_DIR/NAME/VERSION                what data/ becomes, by one rename, at the end

A killed run continues with the next shard if its plan is the same.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxcnn.errors import EXIT_WORKDIR, UserError
from jaxcnn.io.append import flush
from jaxcnn.io.atomic import replaced_file
from jaxcnn.io.safe_files import read_json, read_text

Note = dict[str, Any]


class Workspace:
    """The hidden folder of a data set; returned by `open_workspace`.

    Attributes:
      data: folder that becomes the data set.
    """

    def __init__(self, hidden: Path, target: Path):
        self._done = hidden / "done"
        self._target = target
        self._hidden = hidden
        self.data = hidden / "data"

    def done(self, shard: str) -> Note | None:
        """Returns the record of a completely written shard, or None."""
        try:
            note = read_json(self._done / f"{shard}.json")
            size = (self.data / shard).stat().st_size
            return note["note"] if size == note["size"] else None
        except (OSError, ValueError, KeyError, TypeError):  # not completely written
            return None

    def write_shard(self, shard: str, records: Iterable[bytes], note: Note) -> None:
        """Writes one ArrayRecord file, whole or not at all.

        Args:
          shard: name of the file.
          records: records of the file; they are read before `note`.
          note: record of the shard that `done` returns afterwards.

        Raises:
          UserError: if the disk is full or not writable.
        """
        from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

        partial = self._hidden / "shard.partial"
        written = 0
        writer = None
        try:
            writer = _call(ArrayRecordWriter, str(partial), "group_size:1")  # one image per group
            for record in records:
                _call(writer.write, record)
                written += 1
            _call(writer.close)
            reader = _call(ArrayRecordReader, str(partial))
            found = reader.num_records()
            reader.close()
            if found != written:
                raise OSError(errno.EIO, f"{found} of {written} records are in the file")
            flush([partial])
            size = partial.stat().st_size
            os.replace(partial, self.data / shard)
            with replaced_file(self._done / f"{shard}.json", durable=True) as file:
                file.write(json.dumps({"size": size, "note": note}).encode())
        except OSError as error:
            raise not_writable(self.data, error) from error
        finally:
            if writer is not None:
                with contextlib.suppress(RuntimeError):  # raises again after a failure
                    writer.close()

    def commit(self) -> Path:
        """Makes the data set visible; returns its folder."""
        try:
            flush([*self.data.iterdir(), self.data])
            os.rename(self.data, self._target)
            flush([self._target.parent])
            shutil.rmtree(self._hidden)
        except OSError as error:
            raise not_writable(self.data, error) from error
        return self._target


@contextlib.contextmanager
def open_workspace(target: Path, plan: Note) -> Iterator[Workspace]:
    """Locks the hidden folder of a data set that will be at `target`.

    Args:
      target: DATA_DIR/NAME/VERSION, which does not exist yet.
      plan: settings that determine the shards; another plan starts again.

    Raises:
      UserError: if another process prepares the same, or the folder is not writable.
    """
    hidden = target.parent / f".{target.name}.incomplete"
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        lock = (hidden / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise not_writable(hidden, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is preparing {target}: wait for it, or stop it", EXIT_WORKDIR
            ) from None
        try:
            _take_up(hidden, plan)
        except OSError as error:
            raise not_writable(hidden, error) from error
        yield Workspace(hidden, target)


def _take_up(hidden: Path, plan: Note) -> None:
    """Keeps the shards of the same plan and removes all others."""
    file = hidden / "plan.json"
    text = json.dumps(plan, sort_keys=True)
    try:
        kept = read_text(file)
    except (OSError, ValueError):  # no plan, or not a valid one
        kept = ""
    if kept != text:
        file.unlink(missing_ok=True)
        for part in ("data", "done"):
            shutil.rmtree(hidden / part, ignore_errors=True)
        for part in ("data", "done"):
            (hidden / part).mkdir()
        with replaced_file(file, durable=True) as stream:
            stream.write(text.encode())
    (hidden / "shard.partial").unlink(missing_ok=True)


def check_space(folder: Path, num_bytes: int) -> None:
    """Refuses to start if the disk has too little space.

    Args:
      folder: a folder that need not exist yet.
      num_bytes: number of bytes to write.

    Raises:
      UserError: if the disk has less space.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if num_bytes > free:
        raise UserError(
            f"{there} has {free / 1e9:.1f} GB free and {num_bytes / 1e9:.1f} GB are to be written:"
            " make room, or set --out to another disk",
            EXIT_WORKDIR,
        )


def _call(function: Any, *arguments: Any) -> Any:
    """Calls ArrayRecord; converts its RuntimeErrors to OSErrors."""
    try:
        return function(*arguments)
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error).partition(";")[0]) from error


def not_writable(path: Path, error: OSError) -> UserError:
    """Returns the error for a folder that is not writable."""
    return UserError(
        f"cannot write {path}: {error.strerror or error}; make room or set --out to another disk,"
        " and start again: what is written so far is kept",
        EXIT_WORKDIR,
    )
