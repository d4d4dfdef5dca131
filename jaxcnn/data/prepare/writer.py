"""Writes numbered examples as a TFDS folder: shards of ArrayRecord and their description.

The examples of a split are ordered as in TFDS, by the MD5 of the split's name and the key, so
`train[:90%]` is the same as in a data set that TFDS has prepared.
"""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jaxcnn.data.prepare.original import BadRecordError, Examples, Original
from jaxcnn.data.prepare.workspace import Note, Workspace, check_space, not_writable, open_workspace
from jaxcnn.errors import UserError
from jaxcnn.io.safe_files import read_json

SHARD_BYTES = 64 << 20  # smallest size if there are several shards
MOST_SHARDS = 1024
WINDOW = 512  # examples in memory at a time
PART = 16  # examples per thread task
LISTED = 10  # bad records listed in a message
HOPELESS = 100  # stop after this many bad records beyond those allowed


class Progress(Protocol):
    """Progress while a split is written."""

    def __call__(self, split: str, done: int, total: int) -> None:
        """Reports that `done` of `total` examples are written."""


class Written(NamedTuple):
    """A split: examples per shard, bytes of all records, and records that were left out."""

    lengths: list[int]
    num_bytes: int
    bad: list[str]


def prepare(
    original: Original,
    root: Path,
    *,
    partial: bool = False,
    allow_bad: int = 0,
    progress: Progress = lambda split, done, total: None,
) -> Path:
    """Writes a data set; returns its folder, root/name/version.

    Args:
      original: data set to write.
      root: folder of TFDS.
      partial: whether to write only the splits that exist, with any number of examples.
      allow_bad: number of unusable records to leave out.
      progress: called with the progress.

    Raises:
      UserError: if a split is missing or has another number of examples than published, too many
        records are bad, or the disk is full. The next call continues with what is written.
    """
    target = root / original.name / original.version
    check_free(target)
    missing = [split for split in original.published if split not in original.splits]
    if missing and not partial:
        raise UserError(
            f"{original.name} has no files of {' and '.join(missing)} there: add them, or set"
            " --partial to go without"
        )
    plan = {"files": original.fingerprint(), "shard_bytes": SHARD_BYTES}
    with open_workspace(target, plan) as workspace, _pool() as pool:
        serialize, info = _description(original, workspace.data)
        written: dict[str, Written] = {}
        for split, load in original.splits.items():
            examples = load()
            _check_count(original, split, examples, partial)
            written[split] = _write_split(
                workspace, original.name, split, examples, serialize, pool, allow_bad, progress
            )
        _check_bad([line for one in written.values() for line in one.bad], allow_bad)
        try:
            _write_info(info, workspace.data, written)
        except OSError as error:
            raise not_writable(workspace.data, error) from error
        return workspace.commit()


def check_free(target: Path) -> None:
    """Refuses to overwrite an existing folder.

    Raises:
      UserError: if it exists; the message says what to do.
    """
    if target.exists():
        raise UserError(
            f"{target} already exists: use it, or remove it to prepare it again"
            f"{_format_hint(target)}"
        )


def _format_hint(target: Path) -> str:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        info = read_json(target / "dataset_info.json")
        kind = info.get("fileFormat", "tfrecord")
        if kind == "tfrecord":
            return f" (it is {kind}: `python -m jaxcnn.data.prepare convert` changes that)"
    return ""


def _pool() -> ThreadPoolExecutor:
    """Returns a pool of threads: Pillow decodes and hashes without the interpreter's lock."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(available or 1)


def _check_count(original: Original, split: str, examples: Examples, partial: bool) -> None:
    count, published = len(examples.keys), original.published.get(split)
    if not count:
        raise UserError(f"{original.name} has no example of {split} there")
    if published not in (None, count) and not partial:
        raise UserError(
            f"{original.name} has {published:,} examples of {split}, and {count:,} are there: a"
            " file is missing, truncated or a different one; set --partial if this is intended"
        )
    if len(set(examples.keys)) < count:
        raise UserError(f"two examples of {split} of {original.name} have the same file name")


def _check_bad(bad: list[str], allowed: int) -> None:
    if len(bad) > allowed:
        more = f"; and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        records = "records" if len(bad) > 1 else "record"
        raise UserError(
            f"{len(bad)} {records} cannot be used: {'; '.join(bad[:LISTED])}{more}. Put good files"
            f" in their place, or set --allow-bad={len(bad)} to leave them out"
        )


def order(split: str, examples: Examples) -> list[int]:
    """Returns the indices of the examples in the order of TFDS."""
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def digest(index: int) -> bytes:
        whole = salted.copy()
        whole.update(str(examples.keys[index]).encode())
        return whole.digest()

    return sorted(range(len(examples.keys)), key=digest)


def shard_count(num_examples: int, num_bytes: int) -> int:
    """Returns a power of two: shards of at least 64 MiB, at most 1024 of them, as in TFDS."""
    count = 1
    while count < MOST_SHARDS and 2 * count <= min(num_examples, num_bytes // SHARD_BYTES):
        count *= 2
    return count


def shard_name(name: str, split: str, number: int, count: int) -> str:
    """Returns the name of a shard file as in TFDS."""
    return f"{name}-{split}.array_record-{number:05}-of-{count:05}"


def _write_split(
    workspace: Workspace,
    name: str,
    split: str,
    examples: Examples,
    serialize: Callable[[dict[str, Any]], bytes],
    pool: Executor,
    allow_bad: int,
    progress: Progress,
) -> Written:
    """Writes missing shards of a split, and shards that had left out records."""
    positions = order(split, examples)
    total = len(positions)
    shards = shard_count(total, examples.num_bytes)
    edges = [round(total * number / shards) for number in range(shards + 1)]
    names = [shard_name(name, split, number, shards) for number in range(shards)]
    if not any(workspace.done(shard) for shard in names):
        check_space(workspace.data, examples.num_bytes)

    def attempt(index: int) -> bytes | str:
        try:
            return serialize(examples.read(index))
        except (BadRecordError, OSError) as error:
            return f"{examples.describe(index)} ({error})"

    def attempt_some(indices: list[int]) -> list[bytes | str]:
        return [attempt(index) for index in indices]

    def records(shard: list[int], before: int, note: Note) -> Iterator[bytes]:
        for start in range(0, len(shard), WINDOW):
            window = shard[start : start + WINDOW]
            parts = [window[at : at + PART] for at in range(0, len(window), PART)]
            for result in itertools.chain.from_iterable(pool.map(attempt_some, parts)):
                if isinstance(result, str):
                    note["bad"].append(result)
                    continue
                note["length"] += 1
                note["bytes"] += len(result)
                yield result
            if len(bad) + len(note["bad"]) > allow_bad + HOPELESS:
                _check_bad(bad + note["bad"], allow_bad)
            progress(split, before + start + len(window), total)

    lengths, num_bytes, bad = [], 0, []
    for shard, first, last in zip(names, edges, edges[1:], strict=False):
        note = workspace.done(shard)
        if note is None or note["bad"]:
            note = {"length": 0, "bytes": 0, "bad": []}
            workspace.write_shard(shard, records(positions[first:last], first, note), note)
        else:
            progress(split, last, total)
        lengths.append(note["length"])
        num_bytes += note["bytes"]
        bad += note["bad"]
    return Written(lengths, num_bytes, bad)


def _description(original: Original, folder: Path) -> tuple[Callable[[dict[str, Any]], bytes], Any]:
    """Returns a function from features to a record, and the DatasetInfo without its splits."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    image = tfds.features.Image(
        shape=original.image_shape, encoding_format=original.encoding or None
    )
    features = tfds.features.FeaturesDict(
        {
            "image": image,
            **{name: tfds.features.ClassLabel(names=n) for name, n in original.labels.items()},
            **{name: tfds.features.Text() for name in original.texts},
        }
    )
    serializer = ExampleSerializer(features.get_serialized_info())
    info = tfds.core.DatasetInfo(
        builder=DatasetIdentity(
            name=original.name,
            version=tfds.core.Version(original.version),
            data_dir=str(folder),
            module_name="jaxcnn.data.prepare",
        ),
        description=original.description,
        features=features,
        supervised_keys=("image", "label"),
        homepage=original.homepage,
    )

    def serialize(values: dict[str, Any]) -> bytes:
        example = serializer.get_tf_example(features.encode_example(values))
        return example.SerializeToString(deterministic=True)  # else the order varies

    return serialize, info


def _write_info(info: Any, folder: Path, written: Mapping[str, Written]) -> None:
    import tensorflow_datasets as tfds

    info.set_file_format("array_record")
    info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(name=split, shard_lengths=one.lengths, num_bytes=one.num_bytes)
                for split, one in written.items()
            ]
        )
    )
    info.write_to_directory(folder)
