import csv
import json

import pytest

from jaxcnn.run.metric_writer import MetricWriter, duration

RECORDS = [
    {"step": 10, "train/loss": 0.1 + 0.2, "epoch": 0.5},
    {"step": 20, "train/loss": 1e-9, "epoch": 1.0},
    {"step": 20, "epoch": 1.0, "test/top1": 0.25},
    {"step": 30, "train/loss": 7, "epoch": 1.5, "note": "a, b"},
]


@pytest.fixture
def written(tmp_path):
    log = MetricWriter(tmp_path)
    for record in RECORDS:
        log.record(record)
    return tmp_path


def lines(workdir):
    return (workdir / "metrics.jsonl").read_text().splitlines()


def test_records_are_one_line_each_and_come_back_exactly(written):
    assert [json.loads(line) for line in lines(written)] == RECORDS
    assert MetricWriter(written).records() == RECORDS


def test_no_records_yet(tmp_path):
    assert MetricWriter(tmp_path).records() == []


def test_rewinding_drops_what_comes_after_a_step(written):
    log = MetricWriter(written)
    log.rewind(20)
    assert [json.loads(line) for line in lines(written)] == RECORDS[:3]
    log.record({"step": 21})
    assert [record["step"] for record in log.records()] == [10, 20, 20, 21]
    log.rewind(0)
    assert lines(written) == []
    assert not list(written.glob("*.partial"))


@pytest.mark.parametrize("kept", [1, 9, 40])
def test_a_line_cut_short_by_a_kill_is_not_a_record_and_spoils_no_other(written, kept):
    path = written / "metrics.jsonl"
    whole = path.read_text()
    last = len(lines(written)[-1]) + 1
    path.write_text(whole[: len(whole) - last + kept])
    log = MetricWriter(written)
    assert log.records() == RECORDS[:3]
    log.rewind(20)  # as a run does before it goes on
    log.record({"step": 21})
    assert MetricWriter(written).records() == [*RECORDS[:3], {"step": 21}]


def test_the_table_has_a_column_for_every_key(written):
    MetricWriter(written).close()
    with (written / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "train/loss", "epoch", "test/top1", "note"]
    assert [row["step"] for row in rows] == ["10", "20", "20", "30"]
    assert [row["test/top1"] for row in rows] == ["", "", "0.25", ""]
    assert float(rows[0]["train/loss"]) == 0.1 + 0.2
    assert rows[3]["note"] == "a, b"


def test_another_process_writes_and_says_nothing(tmp_path, capsys):
    log = MetricWriter(tmp_path, active=False, tensorboard=True)
    log.say("hello")
    log.progress("step 1")
    log.record({"step": 1})
    log.rewind(0)
    log.close()
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_progress_is_plain_lines(tmp_path, capsys):
    log = MetricWriter(tmp_path)
    log.progress("step 1")
    log.progress("step 2")
    log.say("done")
    assert capsys.readouterr().out == "step 1\nstep 2\ndone\n"


def test_on_a_terminal_progress_is_one_line_cut_to_its_width(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    log = MetricWriter(tmp_path)
    log.progress("s" * 50)
    log.progress("step 2")
    log.say("done")
    log.progress("step 3")
    log.close()
    clear = "\r\033[K"
    assert capsys.readouterr().out == (
        f"{clear}{'s' * 19}{clear}step 2{clear}done\n{clear}step 3\n"
    )


@pytest.mark.slow
def test_tensorboard_gets_the_numbers(tmp_path):
    events = pytest.importorskip("tensorboardX")
    assert events
    log = MetricWriter(tmp_path, tensorboard=True)
    log.record(RECORDS[2])
    log.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"test/top1" in file.read_bytes()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (725, "12:05"),
        (3599.7, "1:00:00"),
        (11045, "3:04:05"),
        (360000, "100:00:00"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
