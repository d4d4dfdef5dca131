"""What files are is looked at before they are opened, and how large before they are read."""

import csv
import json
import logging
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxcnn import predict
from jaxcnn.errors import UserError, printable
from jaxcnn.evaluation import report
from jaxcnn.io import safe_files
from jaxcnn.run import cli
from jaxcnn.run.metric_writer import MetricWriter
from tests import hostile


def test_only_regular_files_are_opened(tmp_path):
    for path, kind in hostile.no_files(tmp_path):
        for read in (safe_files.open_regular, safe_files.read_text, safe_files.read_npz):
            with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
                read(path)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        safe_files.read_text(tmp_path)
    (tmp_path / "text").write_text("é")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    assert safe_files.read_text(tmp_path / "link") == "é"


def test_a_file_that_is_replaced_by_a_fifo_after_it_was_looked_at_does_not_hang(
    tmp_path, monkeypatch
):
    os.mkfifo(tmp_path / "x")
    looked_at = os.stat(__file__)
    monkeypatch.setattr(os, "stat", lambda path: looked_at)
    with pytest.raises(OSError, match="it is a FIFO"):
        safe_files.open_regular(tmp_path / "x")


def test_no_more_is_read_than_is_expected(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345678")
    assert safe_files.read_bytes(path, 8) == b"12345678"
    with pytest.raises(OSError, match="it has 8 bytes, more than the 7 expected"):
        safe_files.read_bytes(path, 7)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(OSError, match="it has 1,099,511,627,776 bytes"):
        safe_files.read_bytes(path, 1 << 30)
    assert b"Linux" in safe_files.read_bytes("/proc/version", 1000)  # whose size is said to be 0
    with pytest.raises(OSError, match="more than the 3 expected"):
        safe_files.read_bytes("/proc/version", 3)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b'{"a": ' * 100_000, b""])
def test_what_is_no_json_is_a_value_error(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError):
        safe_files.read_json(tmp_path / "x")


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {
        "float": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array(json.dumps({"a": "é"})),
        "scalar": np.array(3, ">i2"),
        "none": np.zeros((0, 4)),
        "a/b": np.ones(2, bool),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        found = safe_files.read_npz(tmp_path / "x.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@pytest.mark.parametrize("wrong", hostile.bad_npz())
def test_an_npz_that_is_not_as_numpy_writes_it_is_a_value_error_and_takes_no_memory(
    tmp_path, wrong
):
    (tmp_path / "x.npz").write_bytes(hostile.bad_npz()[wrong])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as info:
            safe_files.read_npz(tmp_path / "x.npz")
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert str(info.value).isprintable()


def test_an_npz_may_hold_as_much_as_is_expected(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(100), b=np.zeros(100))
    size = sum(one.file_size for one in zipfile.ZipFile(tmp_path / "x.npz").infolist())
    assert set(safe_files.read_npz(tmp_path / "x.npz", size)) == {"a", "b"}
    with pytest.raises(ValueError, match=f"its arrays have {size:,} bytes, more than the"):
        safe_files.read_npz(tmp_path / "x.npz", size - 1)


def test_one_array_of_a_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = hostile.npz([("a", hostile.npy((4,)))] * 2)
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match="two arrays of one name"):
        safe_files.read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("name", hostile.NAMES)
def test_a_message_is_one_line_that_a_terminal_obeys_in_nothing(name):
    message = str(UserError(f"no file {name}: choose another"))
    assert message.isprintable()
    message.encode("utf-8")
    assert message.startswith("no file ")
    assert message.endswith(": choose another")


def test_what_can_be_shown_is_left_as_it_is():
    assert printable("é → 猫 \\ …") == "é → 猫 \\ …"
    assert printable("a\nb\x1b[0m\udcff\u202e") == "a\\nb\\x1b[0m\\xff\\u202e"


@pytest.mark.parametrize("text", ["=1+1", "+3 cats", "-2-1", "@sum", "\t=1", "\r=1", "\uff1d1"])
def test_a_cell_is_never_a_formula(text):
    assert safe_files.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, "-1.5", "+1e-3", "-inf", 3, None, "a=b", " =1", "", "'x"])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert safe_files.csv_cell(value) is value


def test_names_reach_no_terminal_and_no_spreadsheet(tmp_path, capsys):
    """By the helpers of the commands: predictions, the log, and what a run says."""
    names = [*hostile.NAMES, "=1+1.jpg"]
    guesses = [predict.Guess(1, name, 0, -0.5) for name in names]
    found = [(Path(name), guesses) for name in names]
    assert not predict._print(iter(found))
    shown = capsys.readouterr().out.split("\n")[:-1]
    assert len(shown) == len(names)
    assert all(line.isprintable() for line in shown)
    assert not predict._write_csv(iter(found), tmp_path / "x.csv", len(found))
    with (tmp_path / "x.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == len(names) ** 2
    assert {row[4] for row in rows} == {"-0.5"}
    for cell in (cell for row in rows for cell in (row[0], row[2])):
        assert not cell.startswith(safe_files.FORMULA) or cell in ("-2", "+3")
        assert cell.removeprefix("'") in names
    capsys.readouterr()
    log = MetricWriter(tmp_path)
    for name in names:
        log.say(name)
        log.progress(name)
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
    record = logging.LogRecord("jaxcnn", logging.WARNING, "", 0, "left out: %s", (names[0],), None)
    assert cli._Formatter("%(message)s").format(record).isprintable()


def test_a_report_has_names_that_no_spreadsheet_computes(tmp_path):
    logs = np.log(np.full((2, 3), 1 / 3, np.float32))
    found = report.Predictions(np.arange(2), np.array([0, 2]), logs)
    report.write(tmp_path, found, ("=1+1", "-2", "@x"), {})
    wanted = ["'=1+1", "-2", "'@x"]
    with (tmp_path / "per_class.csv").open(newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == wanted
    with (tmp_path / "confusion.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head[1:] == [row[0] for row in rows] == wanted
