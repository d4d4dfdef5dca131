"""From TFRecord, as TFDS writes it, to ArrayRecord with the same records."""

import json
import shutil
import struct

import pytest

from jaxcnn.data import load
from jaxcnn.data.prepare.__main__ import main
from jaxcnn.errors import UserError


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 & -(value & 1))
    return value ^ 0xFFFFFFFF


def masked(data):
    value = crc32c(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(record):
    length = struct.pack("<Q", len(record))
    return length + masked(length) + record + masked(record)


def test_the_checksum_is_that_of_tfrecord():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.fixture
def as_tfrecord(originals, tmp_path):
    """Returns (the folder as TFRecord, the same as ArrayRecord)."""
    from array_record.python.array_record_module import ArrayRecordReader

    originals.mnist(tmp_path / "raw", counts=(3, 2))
    main(["mnist", f"--source={tmp_path / 'raw'}", f"--out={tmp_path / 'arrays'}", "--partial"])
    theirs = tmp_path / "arrays/mnist/3.0.1"
    folder = tmp_path / "records/mnist/3.0.1"
    shutil.copytree(theirs, folder)
    for path in folder.glob("*.array_record-*"):
        reader = ArrayRecordReader(str(path))
        records = [reader.read([n])[0] for n in range(reader.num_records())]
        name = path.name.replace("array_record", "tfrecord")
        (folder / name).write_bytes(b"".join(map(frame, records)))
        path.unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    del info["fileFormat"]  # as older releases of TFDS leave it out
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder, theirs


def convert(source, out):
    return main(["convert", f"--source={source}", f"--out={out}"])


def test_the_same_records(as_tfrecord, stock, tmp_path):
    folder, theirs = as_tfrecord
    with pytest.raises(UserError, match="is stored as tfrecord"):
        load("tfds", "train", name="mnist", dir=folder.parents[1], image_size=28, channels=1)
    assert convert(folder.parents[1], tmp_path / "out") == 0
    for split in ("train", "test"):
        ours, expected = (stock(f, split) for f in (tmp_path / "out/mnist/3.0.1", theirs))
        assert [r["label"] for r in ours] == [r["label"] for r in expected]
        for a, b in zip(ours, expected, strict=True):
            assert (a["image"] == b["image"]).all()
    assert len(list((tmp_path / "out/mnist/3.0.1").iterdir())) == 5
    load("tfds", "train", name="mnist", dir=tmp_path / "out", image_size=28, channels=1)


def test_a_shard_that_is_repaired(as_tfrecord, stock, tmp_path):
    folder, theirs = as_tfrecord
    test = folder / "mnist-test.tfrecord-00000-of-00001"
    whole = test.read_bytes()
    test.write_bytes(bytes(len(whole)))
    with pytest.raises(UserError, match=r"mnist-test.tfrecord.* is damaged"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out/mnist/3.0.1").exists()
    assert len(list((tmp_path / "out/mnist/.3.0.1.incomplete/data").iterdir())) == 1
    test.write_bytes(whole)
    assert convert(folder, tmp_path / "out") == 0
    records = stock(tmp_path / "out/mnist/3.0.1", "test")
    assert [r["label"] for r in records] == [r["label"] for r in stock(theirs, "test")]


def test_what_cannot_be_converted(as_tfrecord, tmp_path):
    folder, theirs = as_tfrecord
    train = folder / "mnist-train.tfrecord-00000-of-00001"
    whole = train.read_bytes()
    for data, match in [
        (whole[:-5], "is damaged"),
        (whole[: len(whole) - len(frame_at(whole, 2))], "has 2 records and should have 3"),
        (whole + frame(b""), "record 3 is empty"),
        (whole[:12] + bytes(len(whole) - 12), "is damaged"),
    ]:
        train.write_bytes(data)
        with pytest.raises(UserError, match=match):
            convert(folder, tmp_path / "out")
    train.unlink()
    with pytest.raises(UserError, match=r"mnist-train.tfrecord.* is missing"):
        convert(folder, tmp_path / "out")
    with pytest.raises(UserError, match="stored as array_record: only tfrecord"):
        convert(theirs, tmp_path / "out")
    with pytest.raises(UserError, match="is the data set itself: set --out to another"):
        convert(folder, folder.parents[1])
    shutil.copytree(folder.parent, folder.parents[1] / "other")
    with pytest.raises(UserError, match="has several data sets"):
        convert(folder.parents[1], tmp_path / "out")
    for content in ("{", "[]", '{"name": "../x", "version": "1.0.0", "splits": []}'):
        (folder / "dataset_info.json").write_text(content)
        with pytest.raises(UserError, match=r"cannot be read|is not as TFDS writes it"):
            convert(folder, tmp_path / "out")
    assert not (tmp_path / "out/mnist/3.0.1").exists()


def frame_at(data, index):
    """The bytes of a record with its frame."""
    start = 0
    for _ in range(index + 1):
        (length,) = struct.unpack_from("<Q", data, start)
        found = data[start : start + length + 16]
        start += length + 16
    return found
