"""Converts data sets prepared by TFDS from TFRecord to ArrayRecord; the records are unchanged."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcnn.data.datasets.tfds_folder import check_folder
from jaxcnn.data.prepare.workspace import Note, check_space, not_writable, open_workspace
from jaxcnn.data.prepare.writer import Progress, check_free
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import JSON_BYTES, read_bytes, read_json

DESCRIPTION = "dataset_info.json"


def convert(
    source: Path, root: Path, *, progress: Progress = lambda split, done, total: None
) -> Path:
    """Writes the same data set as ArrayRecord; returns its folder.

    Args:
      source: folder with dataset_info.json, NAME/VERSION or NAME/CONFIG/VERSION; or a folder above
        it, if that holds only one.
      root: folder of TFDS to write to, not the one that contains `source`.
      progress: receives the number of converted records.

    Raises:
      UserError: if the data set is missing or has another format, shards are missing or damaged, or
        the disk is full.
    """
    source = _locate(source)
    info = _read_description(source)
    parts = [info["name"], info.get("configName", ""), info["version"]]
    target = root.joinpath(*filter(None, parts))
    if target.resolve() == source.resolve():
        raise UserError(
            f"{target} is the data set itself: set --out to another folder than {root}, and"
            " --config.data.dir to the same when training"
        )
    check_free(target)
    splits = {split["name"]: _shards(source, info["name"], split) for split in info["splits"]}
    status = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for shards in splits.values()
        for path, _, _ in shards
    ]
    with open_workspace(target, {"files": status, "source": str(source.resolve())}) as workspace:
        todo = [
            path.stat().st_size
            for shards in splits.values()
            for path, name, _ in shards
            if workspace.done(name) is None
        ]
        check_space(workspace.data, sum(todo))
        for split, shards in splits.items():
            done, total = 0, sum(length for _, _, length in shards)
            for path, name, length in shards:
                if workspace.done(name) is None:
                    workspace.write_shard(name, _records(path, length), {})
                done += length
                progress(split, done, total)
        try:
            _copy_description(source, workspace.data, info)
        except OSError as error:
            raise not_writable(workspace.data, error) from error
        return workspace.commit()


def _locate(source: Path) -> Path:
    for pattern in (DESCRIPTION, f"*/{DESCRIPTION}", f"*/*/{DESCRIPTION}"):
        found = sorted(source.glob(pattern))
        if len(found) > 1:
            raise UserError(
                f"{source} has several data sets: set --source to one, such as {found[-1].parent}"
            )
        if found:
            return found[0].parent
    raise UserError(f"no data set of TFDS in {source}: set --source to the folder of {DESCRIPTION}")


def _read_description(source: Path) -> Note:
    try:
        info = read_json(source / DESCRIPTION)
        kind = info.get("fileFormat", "tfrecord")
        names = [info["name"], info.get("configName", ""), info["version"]]
        names += [split["name"] for split in info["splits"]]
        lengths = [int(length) for split in info["splits"] for length in split["shardLengths"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source / DESCRIPTION} cannot be read: {error!r}") from None
    if any(Path(name).name != name for name in names if name) or min(lengths, default=0) < 0:
        raise UserError(f"{source / DESCRIPTION} is not as TFDS writes it: {names}")
    if kind != "tfrecord":
        raise UserError(f"{source} is stored as {kind}: only tfrecord can be converted")
    check_folder(source)
    return info


def _shards(source: Path, name: str, split: dict[str, Any]) -> list[tuple[Path, str, int]]:
    """Returns file, name of the new file and number of records of each shard."""
    lengths = [int(length) for length in split["shardLengths"]]
    shards = []
    for number, length in enumerate(lengths):
        ending = f"{number:05}-of-{len(lengths):05}"
        path = source / f"{name}-{split['name']}.tfrecord-{ending}"
        if not path.is_file():
            raise UserError(f"{path} is missing: prepare or copy the data set again")
        shards.append((path, f"{name}-{split['name']}.array_record-{ending}", length))
    return shards


def _records(path: Path, expected: int) -> Iterator[bytes]:
    """Yields the records of a file after checking that they can be parsed.

    Raises:
      UserError: if the file is damaged, or has another number of records.
    """
    from grain.experimental import TFRecordIterDataset
    from tensorflow_datasets.proto import tf_example_pb2

    count = 0
    try:
        for record in TFRecordIterDataset(os.fspath(path)):
            if not tf_example_pb2.Example.FromString(record).features.feature:
                raise ValueError(f"record {count} is empty")
            count += 1
            yield record
    except Exception as error:  # protobuf and struct raise their own
        raise UserError(f"{path} is damaged ({error}): prepare or copy it again") from error
    if count != expected:
        raise UserError(
            f"{path} has {count:,} records and should have {expected:,}: prepare or copy it again"
        )


def _copy_description(source: Path, target: Path, info: Note) -> None:
    """Copies all files except the shards; changes the format in the description."""
    for path in sorted(source.iterdir()):
        if path.suffix in (".json", ".txt") and path.name != DESCRIPTION:
            (target / path.name).write_bytes(read_bytes(path, JSON_BYTES))
    info = {key: value for key, value in info.items() if key != "alternativeFileFormats"}
    (target / DESCRIPTION).write_text(
        json.dumps({**info, "fileFormat": "array_record"}, indent=2), encoding="utf-8"
    )
