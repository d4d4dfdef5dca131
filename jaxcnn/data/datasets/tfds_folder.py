"""Checks a folder of TFDS before TFDS opens it.

TFDS imports the Python class that `features.json` names, waits for a file of any kind with a
shard's name, and raises different errors for different damage. These checks accept only TFDS's own
features and regular files of the folder itself, and report damage in one line.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import JSON_BYTES, kind_of, read_json, read_text

INFO, FEATURES = "dataset_info.json", "features.json"
MOST_CLASSES = 1_000_000
_NAME = re.compile(r"\w[\w.-]*")
_FEATURE = re.compile(r"tensorflow_datasets\.core\.features\.(\w+\.)*[A-Z]\w*")
_KEYS = ("pythonClassName", "python_class_name", "type")  # proto, JSON, older


def read_info(folder: Path) -> dict[str, Any]:
    """Returns the content of dataset_info.json with checked names and numbers.

    Raises:
      UserError: if the file is missing or not in TFDS's format.
    """
    try:
        info = read_json(folder / INFO)
        info.setdefault("fileFormat", "tfrecord")
        names = [info["name"], info["version"], info["fileFormat"], info.get("configName") or "a"]
        names += [split["name"] for split in info["splits"]]
        names += info.setdefault("alternativeFileFormats", [])
        for split in info["splits"]:
            split["shardLengths"] = [int(length) for length in split.get("shardLengths", [])]
            if min(split["shardLengths"], default=0) < 0:
                raise ValueError(f"split {split['name']} has a shard of fewer than 0 examples")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(folder / INFO, error) from None
    wrong = [name for name in names if not isinstance(name, str) or not _NAME.fullmatch(name)]
    if wrong:
        raise _unreadable(folder / INFO, ValueError(f"{wrong[0]!r} is no name"))
    return info


def open_builder(folder: Path) -> Any:
    """Returns TFDS's builder of a data set, after reading its description.

    Raises:
      UserError: if a file is not a regular one, a feature is not TFDS's own, or the description is
        missing, damaged or of a newer TFDS.
    """
    read_info(folder)
    check_folder(folder)
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # TFDS raises a dozen kinds
        raise UserError(
            f"the description of the data set in {folder} cannot be read ({first_line(error)}):"
            " prepare it again, or pip install --upgrade tensorflow-datasets if it is newer"
        ) from error


def open_split(builder: Any, folder: Path, split: str, decoders: dict[str, Any]) -> Any:
    """Returns TFDS's random access to the records of a split.

    Raises:
      UserError: if a shard is missing, not a regular file, or too short for its number of records.
    """
    try:
        info = builder.info.splits[split]
        shards = [Path(os.fspath(path)) for path in info.filepaths]
        lengths = list(info.shard_lengths)
        for shard, length in zip(shards, lengths, strict=True):
            if shard.parent != folder:
                raise ValueError(f"{shard} is not in it")
            status = shard.stat()
            if kind_of(status.st_mode):
                raise ValueError(f"{shard.name} is {kind_of(status.st_mode)}, not a regular file")
            if length > status.st_size:
                raise ValueError(f"{shard.name} is truncated: it cannot have {length:,} records")
        return builder.as_data_source(split, decoders=decoders)
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: prepare or copy the data set again"
        ) from None
    except Exception as error:  # TFDS and ArrayRecord raise their own
        raise UserError(
            f"the split {split} of the data set in {folder} cannot be read"
            f" ({first_line(error)}): prepare or copy it again"
        ) from error


def class_names(label: Any, folder: Path, key: str) -> tuple[str, ...]:
    """Returns the class names of the ClassLabel feature at `key`, or the class numbers.

    Raises:
      UserError: if there are no classes, more than a network can have, or a number of names other
        than the number of classes, which TFDS would assign to wrong classes.
    """
    count = label.num_classes or 0
    if not 1 <= count <= MOST_CLASSES:
        raise UserError(
            f"the data set in {folder} has {count:,} classes and not 1 to {MOST_CLASSES:,}: its"
            " description is damaged; prepare it again"
        )
    file = folder / f"{key}.labels.txt"
    if not file.exists():
        return tuple(map(str, range(count)))
    try:
        names = tuple(filter(None, map(str.strip, read_text(file).split("\n"))))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    if len(names) != count or len(set(names)) < count:
        raise UserError(
            f"{file} should name {count:,} different classes, and names {len(set(names)):,}:"
            " prepare or copy the data set again"
        )
    return names


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its type."""
    return next((line for line in map(str.strip, str(error).splitlines()) if line), repr(error))


def check_folder(folder: Path) -> None:
    """Refuses a folder with a file that is not regular, or a feature that is not TFDS's own.

    Raises:
      UserError: with the name of the file or feature.
    """
    _check_files(folder)
    _check_features(folder / FEATURES)


def _check_files(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat() if entry.is_symlink() or not entry.is_file() else None
                if status and (kind := kind_of(status.st_mode)) and kind != "a folder":
                    raise UserError(
                        f"{entry.path} is {kind}, not a regular file: remove it, or prepare or copy"
                        " the data set again"
                    )
                if entry.name.endswith((".json", ".txt")) and entry.stat().st_size > JSON_BYTES:
                    raise UserError(
                        f"{entry.path} has {entry.stat().st_size:,} bytes, which no description"
                        " has: prepare or copy the data set again"
                    )
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or folder}: {error.strerror}; prepare or copy the data"
            " set again"
        ) from None


def _check_features(path: Path) -> None:
    """Refuses a description that would make TFDS import a class from elsewhere."""
    try:
        waiting = [read_json(path)]
        if not isinstance(waiting[0], dict):
            raise ValueError("it is no JSON object")
        while waiting:
            value = waiting.pop()
            if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON in JSON
                try:
                    waiting.append(json.loads(value))
                except ValueError:
                    continue
            elif isinstance(value, list):
                waiting += value
            elif isinstance(value, dict):
                for key in _KEYS:
                    name = value.get(key)
                    if isinstance(name, str) and not _FEATURE.fullmatch(name):
                        raise UserError(
                            f"{path} names the Python class {name!r}, which is not one of TFDS's"
                            " features and is not imported: use a data set that you trust, prepared"
                            " with those"
                        )
                waiting += value.values()
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
    else:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
    return UserError(f"{path} cannot be read ({reason}): prepare or copy the data set again")
