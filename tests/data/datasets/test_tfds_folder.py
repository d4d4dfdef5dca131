"""A folder of TFDS that is damaged, or a trap."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from jaxcnn.data import load, pipeline
from jaxcnn.errors import UserError


def spoiled_features(change):
    """Returns what writes features.json anew, changed by a function of its content."""

    def spoil(folder):
        file = folder / "features.json"
        features = json.loads(file.read_text())
        file.write_text(json.dumps(change(features) or features))

    return spoil


def spoiled_info(**changes):
    def spoil(folder):
        file = folder / "dataset_info.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return spoil


def evil(key, name="trap.Feature", top=False):
    """Returns what names a Python class of a stranger, in the spelling of `key`."""

    def change(features):
        if top:
            features[key] = name
            return features
        legacy = {"type": name, "content": {}}
        own = {"python": {key: name}, "json": {"json": json.dumps({"x": legacy})}}
        kinds = features["featuresDict"]["features"]
        kinds["id"] = {key: name, "text": {}} if key != "type" else legacy
        if key == "json":
            text = "tensorflow_datasets.core.features.text_feature.Text"
            kinds["id"] = {"pythonClassName": text, "jsonFeature": own["json"]}
        return features

    return spoiled_features(change)


def shard(folder):
    return next(folder.glob("tiny-train.array_record*"))


def replaced(name, make):
    """Returns what puts something else in the place of a file."""

    def spoil(folder):
        path = folder / name if name else shard(folder)
        path.unlink()
        make(path)

    return spoil


SPLITS = [{"name": "train", "shardLengths": ["7"], "numBytes": "1"}]
SPOILED = {
    "a class of another package": (
        evil("pythonClassName"),
        "names the Python class 'trap.Feature'",
    ),
    "in the other spelling": (evil("python_class_name"), "names the Python class 'trap.Feature'"),
    "in the old form": (evil("type"), "names the Python class 'trap.Feature'"),
    "in JSON in JSON": (evil("json"), "names the Python class 'trap.Feature'"),
    "at the top": (evil("pythonClassName", top=True), "names the Python class 'trap.Feature'"),
    "a module beside TFDS's": (
        evil("pythonClassName", "tensorflow_datasets.core.features_evil.X"),
        "not one of TFDS's features",
    ),
    "a module of TFDS": (
        evil("pythonClassName", "tensorflow_datasets.testing.X"),
        "TFDS's features",
    ),
    "no class": (
        evil("pythonClassName", "tensorflow_datasets.core.features.feature.Trap"),
        "Unrecognized FeatureConnector",
    ),
    "features missing": (lambda folder: (folder / "features.json").unlink(), "No such file"),
    "features empty": (lambda folder: (folder / "features.json").write_text(""), "cannot be read"),
    "features a list": (lambda folder: (folder / "features.json").write_text("[]"), "JSON object"),
    "features of nothing": (lambda folder: (folder / "features.json").write_text("{}"), "cannot"),
    "features no UTF-8": (
        lambda folder: (folder / "features.json").write_bytes(b"\xff"),
        r"features\.json cannot be read",
    ),
    "features too deep": (
        lambda folder: (folder / "features.json").write_text('{"a":' * 5000 + "1" + "}" * 5000),
        "nested too deep|cannot be read",  # by the reader of JSON up to Python 3.12
    ),
    "a newer field of features": (
        spoiled_features(lambda features: features | {"newer": 1}),
        "if it is newer",
    ),
    "a newer field": (spoiled_info(newer=1), "if it is newer"),
    "version x": (spoiled_info(version="x"), "cannot be read"),
    "no version": (spoiled_info(version=None), "None is no name"),
    "name with a path": (spoiled_info(name="../tiny"), r"'\.\./tiny' is no name"),
    "splits a number": (spoiled_info(splits=3), "cannot be read"),
    "splits of numbers": (spoiled_info(splits=[3]), "cannot be read"),
    "a negative length": (spoiled_info(splits=[SPLITS[0] | {"shardLengths": ["-1"]}]), "fewer"),
    "too long": (spoiled_info(splits=[SPLITS[0] | {"shardLengths": ["10000000"]}]), "truncated"),
    "other shards": (spoiled_info(splits=[SPLITS[0] | {"shardLengths": ["3", "4"]}]), "missing"),
    "another file": (
        spoiled_info(splits=[SPLITS[0] | {"filepathTemplate": "/etc/passwd"}]),
        "cannot be read",
    ),
    "info a list": (lambda folder: (folder / "dataset_info.json").write_text("[]"), "cannot be"),
    "info a FIFO": (replaced("dataset_info.json", os.mkfifo), "it is a FIFO"),
    "features a FIFO": (replaced("features.json", os.mkfifo), "is a FIFO"),
    "labels a FIFO": (replaced("kind.labels.txt", os.mkfifo), "is a FIFO"),
    "labels a device": (
        replaced("kind.labels.txt", lambda path: path.symlink_to("/dev/zero")),
        "is a device",
    ),
    "too few labels": (
        lambda folder: (folder / "kind.labels.txt").write_text("a\n"),
        "names 1:",
    ),
    "two of a name": (lambda folder: (folder / "kind.labels.txt").write_text("a\na\nb"), "names 2"),
    "huge labels": (lambda folder: os.truncate(folder / "kind.labels.txt", 1 << 40), "no descr"),
    "a billion classes": (
        spoiled_features(
            lambda features: features["featuresDict"]["features"]["kind"]["classLabel"].update(
                numClasses="1000000000"
            )
        ),
        "has 1,000,000,000 classes",
    ),
    "shard missing": (lambda folder: shard(folder).unlink(), "is missing"),
    "shard a FIFO": (replaced("", os.mkfifo), "is a FIFO"),
    "shard a device": (replaced("", lambda path: path.symlink_to("/dev/zero")), "is a device"),
    "shard empty": (lambda folder: shard(folder).write_bytes(b""), "truncated"),
    "shard a folder": (replaced("", os.mkdir), "is a folder"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_a_folder_of_a_stranger_is_read_right_or_refused_in_one_line(
    prepared, tmp_path, monkeypatch, spoil, message
):
    (tmp_path / "trap.py").write_text('raise SystemExit("a stranger\'s code was run")')
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = shutil.copytree(prepared[0] / "tiny/1.0.0", tmp_path / "tiny/1.0.0")
    load("tfds", "train", name="tiny", dir=tmp_path, image_size=8)
    spoil(folder)
    with pytest.raises(UserError, match=message) as info:
        load("tfds", "train", name="tiny", dir=tmp_path, image_size=8)
    assert str(info.value).isprintable()
    assert "trap" not in sys.modules


def test_a_billion_classes_without_names(prepared, tmp_path):
    folder = shutil.copytree(prepared[0] / "tiny/1.0.0", tmp_path / "tiny/1.0.0")
    SPOILED["a billion classes"][0](folder)
    (folder / "kind.labels.txt").unlink()
    with pytest.raises(UserError, match="has 1,000,000,000 classes"):
        load("tfds", "train", name="tiny", dir=tmp_path, image_size=8)


def test_a_label_that_no_class_has_costs_the_record(prepared, tmp_path):
    folder = shutil.copytree(prepared[0] / "tiny/1.0.0", tmp_path / "tiny/1.0.0")
    spoil = spoiled_features(
        lambda features: features["featuresDict"]["features"]["kind"]["classLabel"].update(
            numClasses="2"
        )
    )
    spoil(folder)
    (folder / "kind.labels.txt").write_text("ant\nbee\n")
    source = load("tfds", "train", name="tiny", dir=tmp_path, image_size=8)
    (batch,) = pipeline.eval_batches(source, batch_size=7)
    assert batch["weight"].sum() == 5
    assert batch["label"].max() < 2


def test_a_shard_that_is_damaged_anywhere_costs_records_and_not_the_process(prepared, tmp_path):
    folder = shutil.copytree(prepared[0] / "tiny/1.0.0", tmp_path / "tiny/1.0.0")
    whole = shard(folder).read_bytes()
    rng, read = np.random.default_rng(0), 0
    for trial in range(30):
        data = bytearray(whole)
        if trial % 3 == 0:
            del data[int(rng.integers(10, len(data))) :]
        else:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        shard(folder).write_bytes(data)
        try:
            source = load("tfds", "train", name="tiny", dir=tmp_path, image_size=8)
            (batch,) = pipeline.eval_batches(source, batch_size=7)
        except UserError:
            continue
        kept = np.flatnonzero(batch["weight"])
        for image, label in zip(batch["image"][kept], batch["label"][kept], strict=True):
            (number,) = np.flatnonzero((prepared[1][:7] == image).all((1, 2, 3)))
            assert number % 3 == label
            read += 1
    assert read > 30
