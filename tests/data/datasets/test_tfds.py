"""A tiny ArrayRecord data set, written and read without TensorFlow."""

import json
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from jaxcnn.data import load, pipeline
from jaxcnn.data.fields import BatchConfig
from jaxcnn.errors import UserError


def rewrite(prepared, tmp_path, version="1.0.0", **changes):
    """Copies the description of `tiny` with some fields changed."""
    root, _ = prepared
    target = tmp_path / "tiny" / version
    target.mkdir(parents=True)
    for file in (root / "tiny/1.0.0").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    info = json.loads((target / "dataset_info.json").read_text())
    (target / "dataset_info.json").write_text(json.dumps(info | {"version": version} | changes))
    return tmp_path


def test_round_trip(prepared, monkeypatch):
    root, pixels = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    source = load("tfds", "train", name="tiny", image_size=8, train_crop="none", eval_crop="none")
    assert source.class_names == ("ant", "bee", "cow")
    assert (source.num_examples, source.num_classes) == (7, 3)
    (batch,) = pipeline.eval_batches(source, batch_size=7)
    # TFDS shuffles when it writes: match by content.
    order = [int(np.flatnonzero((pixels == image).all((1, 2, 3)))[0]) for image in batch["image"]]
    assert sorted(order) == list(range(7))
    assert batch["label"].tolist() == [number % 3 for number in order]

    kept, held = (
        load("tfds", split, name="tiny", image_size=8, holdout=2)
        for split in ("train", "validation")
    )
    names = [{part.describe(i) for i in range(part.num_examples)} for part in (kept, held)]
    assert [len(group) for group in names] == [5, 2]
    assert not names[0] & names[1]
    test = load("tfds", "test", name="tiny:1.0.0", image_size=8, test_split="holdup")
    assert test.num_examples == 3


def everything(source):
    return [source.read(i, None) for i in range(source.num_examples)]


def test_several_splits_follow_each_other_in_the_order_of_their_names(prepared):
    settings = {"name": "tiny", "dir": prepared[0], "image_size": 8, "train_crop": "none"}
    train, other = (
        load("tfds", "train", train_split=split, **settings) for split in ("train", "holdup")
    )
    for names, parts in (("train+holdup", (train, other)), ("holdup+train", (other, train))):
        both = load("tfds", "train", train_split=names, **settings)
        assert both.num_examples == 10
        wanted = [example for part in parts for example in everything(part)]
        for (image, label), (wanted_image, wanted_label) in zip(
            everything(both), wanted, strict=True
        ):
            assert np.array_equal(image, wanted_image)
            assert label == wanted_label
        assert [both.label_of(i) for i in range(10)] == [label for _, label in wanted]
        assert both.describe(0) == parts[0].describe(0)
        assert both.describe(parts[0].num_examples) == parts[1].describe(0)


def test_so_many_of_each_class_are_held_out_of_each_part(prepared):
    settings = {
        "name": "tiny",
        "dir": prepared[0],
        "image_size": 8,
        "train_split": "train+holdup",
        "holdout_per_class": (1, 1),
    }
    kept, held = (load("tfds", split, **settings) for split in ("train", "validation"))
    names = [[part.describe(i) for i in range(part.num_examples)] for part in (kept, held)]
    assert sorted(name.split()[1] for name in names[1]) == 3 * ["holdup"] + 3 * ["train"]
    assert sorted(label for _, label in everything(held)) == [0, 0, 1, 1, 2, 2]
    assert len(set(names[0] + names[1])) == 10 == len(names[0]) + len(names[1])
    again = load("tfds", "validation", **settings)
    assert [again.describe(i) for i in range(6)] == names[1]
    for change, message in (
        ({"holdout_per_class": (1, 2)}, r"part 2 of tiny has only 1 examples of class"),
        ({"holdout_per_class": (1,)}, r"has 1 numbers and the training split of tiny 2 parts"),
        ({"holdout_per_class": (1, -1)}, r"holdout_per_class=\(1, -1\) is not a tuple"),
        ({"holdout": 2}, r"is for kind=tfds without holdout"),
        ({"train_split": "train+extra"}, r"no split 'extra' \(it has holdup, train\): set train"),
    ):
        with pytest.raises(UserError, match=message):
            load("tfds", "train", **settings | change)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_it_can_be_sent_to_workers(prepared, num_workers):
    source = load("tfds", "train", name="tiny", dir=prepared[0], image_size=8)
    arguments = {"batch_size": 3, "seed": 0}
    stream = pipeline.train_batches(
        source,
        BatchConfig(num_workers=num_workers),
        start_step=0,
        num_steps=4,
        **arguments,
    )
    for step, batch in enumerate(stream):
        expected = pipeline.train_batch(source, step=step, **arguments)
        assert np.array_equal(batch["image"], expected["image"])
        assert np.array_equal(batch["label"], expected["label"])
    assert step == 3


def test_tensorflow_is_never_imported_even_where_it_is_installed(prepared, tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow/__init__.py").write_text("raise SystemExit('tensorflow imported')")
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from jaxcnn.data import load, pipeline
        source = load("tfds", "train", name="tiny", dir={str(prepared[0])!r}, image_size=8)
        assert sum(b["weight"].sum() for b in pipeline.eval_batches(source, batch_size=2)) == 7
        assert "tensorflow" not in sys.modules
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_a_data_set_that_is_not_prepared_fails_at_once_and_says_how_to(prepared, tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cifar10 is not prepared: nothing in .*/cifar10") as error:
        load("tfds", "train", name="cifar10", dir=tmp_path)
    command = f"`python -m jaxcnn.data.prepare cifar10 --source=DIR --out={tmp_path}`"
    assert command in str(error.value)
    assert time.monotonic() - start < 3
    with pytest.raises(UserError, match="tfds build food101 --file_format=array_record"):
        load("tfds", "train", name="food101", dir=tmp_path)
    with pytest.raises(UserError, match=r"tinny is not prepared.*found there: .*tiny"):
        load("tfds", "train", name="tinny", dir=prepared[0])
    with pytest.raises(UserError, match=r"no .*tiny/2\.0\.0"):
        load("tfds", "train", name="tiny:2.0.0", dir=prepared[0])
    with pytest.raises(UserError, match="not the name of a TFDS data set"):
        load("tfds", "train", name="../tiny", dir=prepared[0])


@pytest.mark.usefixtures("no_network")
def test_reading_touches_no_network(prepared):
    source = load("tfds", "train", name="tiny", dir=prepared[0], image_size=8)
    assert len(list(pipeline.eval_batches(source, batch_size=7))) == 1


def test_an_unknown_split_lists_those_there_are(prepared):
    with pytest.raises(
        UserError, match=r"no split 'test' \(it has holdup, train\): set test_split"
    ):
        load("tfds", "test", name="tiny", dir=prepared[0])


def test_another_format_says_how_to_convert(prepared, tmp_path):
    root = rewrite(prepared, tmp_path, fileFormat="tfrecord")
    with pytest.raises(
        UserError, match=r"stored as tfrecord.*prepare convert --source=.*tiny/1\.0\.0 --out"
    ):
        load("tfds", "train", name="tiny", dir=root)
    root = rewrite(prepared, tmp_path, "2.0.0", fileFormat="riegeli")
    with pytest.raises(UserError, match=r"stored as riegeli.*: prepare it as array_record"):
        load("tfds", "train", name="tiny", dir=root)


def test_the_newest_version_is_taken_by_number_and_a_config_must_be_named(prepared, tmp_path):
    rewrite(prepared, tmp_path, "9.0.0")
    rewrite(prepared, tmp_path, "10.0.0", fileFormat="tfrecord")
    with pytest.raises(UserError, match=r"tiny/10\.0\.0 is stored as tfrecord"):
        load("tfds", "train", name="tiny", dir=tmp_path)
    assert load("tfds", "train", name="tiny:9.0.0", dir=tmp_path, image_size=8).num_examples == 7
    (tmp_path / "up").mkdir()
    (tmp_path / "tiny").rename(tmp_path / "up/tiny")
    with pytest.raises(UserError, match="has configs and none is named: choose one of up/tiny"):
        load("tfds", "train", name="up", dir=tmp_path)


def test_a_description_that_cannot_be_read_is_one_line(prepared, tmp_path):
    root = rewrite(prepared, tmp_path)
    (root / "tiny/1.0.0/dataset_info.json").write_text("")
    with pytest.raises(UserError, match=r"dataset_info\.json cannot be read"):
        load("tfds", "train", name="tiny", dir=root)


def test_a_data_set_without_class_labels_is_refused(prepared, tmp_path):
    root = rewrite(prepared, tmp_path)
    file = root / "tiny/1.0.0/features.json"
    features = json.loads(file.read_text())
    del features["featuresDict"]["features"]["kind"]
    file.write_text(json.dumps(features))
    with pytest.raises(
        UserError, match="not a data set for image classification: 0 features of type Cl"
    ):
        load("tfds", "train", name="tiny", dir=root)
