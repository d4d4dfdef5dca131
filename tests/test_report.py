"""The command `python -m jaxcnn.report`, and the page that a run leaves at its end."""

import logging
import shutil
import subprocess
import sys
import time

import pytest

from jaxcnn import report
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import EXIT_WORKDIR, UserError
from jaxcnn.reporting import report as reporting
from jaxcnn.reporting import runs
from jaxcnn.run.versions import command
from jaxcnn.training import train
from tests import photos
from tests.figures import html
from tests.runs import environment


@pytest.fixture(scope="module")
def with_data(photo_run, tmp_path_factory):
    """The run of photographs, whose images are back where they were."""
    root = photo_run.images.parent
    shutil.copytree(root, root.parent / "data")
    yield photo_run
    shutil.rmtree(root.parent / "data")


@pytest.mark.slow
def test_the_page_has_the_figures_of_the_evaluation(with_data, tmp_path, capsys):
    out = tmp_path / "deep" / "report.html"
    report.main([f"--workdir={with_data.workdir}", f"--out={out}"])
    found = html.check(out.read_text(encoding="utf-8"))
    assert f"{out}: 0." in capsys.readouterr().out
    assert f"{100 * with_data.results['test/top1_ema']:.2f} %" in found.text
    assert f"{with_data.results['test/nll_ema']:.4f}" in found.text
    for known in ("black cat", "resnet18 on folder", "averaged weights", command()):
        assert known in found.text
    shown = "test example" if "test example" in found.text else ".png"
    assert shown in found.text


@pytest.mark.slow
def test_without_data_the_rest_is_told(photo_run, tmp_path):
    directory = tmp_path / "copy"
    shutil.copytree(photo_run.workdir, directory)
    config = (directory / "config.json").read_text()
    assert str(photo_run.images.parent.parent / "data") in config
    examined = runs.examine(directory, "copy")
    if examined.answers is None:  # unless the images are back for another test
        assert "data" in examined.problem
        page = reporting.render(reporting.page_of([examined]))
        assert "The network was not evaluated" in html.check(page).text


@pytest.mark.exhaustive
def test_several_runs_have_one_page_and_names_of_their_own(with_data, tmp_path):
    other = tmp_path / "other" / with_data.workdir.name
    shutil.copytree(with_data.workdir, other)
    out = tmp_path / "both.html"
    report.main([f"--workdir={with_data.workdir},{other}", f"--out={out}"])
    found = html.check(out.read_text(encoding="utf-8"))
    assert "The configs are the same." in found.text
    assert str(other) in found.text
    with pytest.raises(UserError, match="give each workdir once"):
        report.main([f"--workdir={other},{other}/.", f"--out={out}"])


def test_mistakes_are_one_line(photo_run, tmp_path):
    with pytest.raises(UserError, match="not the workdir of a run"):
        report.main([f"--workdir={tmp_path}", f"--out={tmp_path / 'x.html'}"])
    assert not (tmp_path / "x.html").exists()
    with pytest.raises(UserError, match="--workdir names no run"):
        report.parse(["--workdir=,"])
    with pytest.raises(UserError, match="no flag --outt"):
        report.parse(["--workdir=x", "--outt=y"])
    with pytest.raises(UserError, match="cannot write") as raised:
        report.main([f"--workdir={photo_run.workdir}", f"--out={tmp_path}"])
    assert raised.value.exit_code == EXIT_WORKDIR
    with pytest.raises(UserError, match="no checkpoint of step 99"):
        report.main([f"--workdir={photo_run.workdir}", "--checkpoint=99", f"--out={tmp_path}/x"])


def test_a_workdir_whose_name_has_a_comma_is_one(tmp_path):
    directory = tmp_path / "a,b"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    assert report.parse([f"--workdir={directory}"]).workdirs == [directory]


def test_a_report_that_fails_is_one_warning(tmp_path, monkeypatch, caplog):
    def fail(*args, **fields):
        raise RuntimeError("no\nreport")

    monkeypatch.setattr(reporting, "write", fail)
    with caplog.at_level(logging.WARNING, logger="jaxcnn"):
        reporting.write_at_end(tmp_path)
    (line,) = caplog.messages
    assert "no report.html was written (RuntimeError: no)" in line


@pytest.mark.slow
def test_a_run_writes_its_page_and_never_fails_for_it(tmp_path, monkeypatch, caplog):
    photos.write_photos(tmp_path / "data")
    config = photos.make_config(tmp_path / "data")
    config.log.report = True
    directory = tmp_path / "run"
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, logger="jaxcnn"):
        patched.setitem(sys.modules, "jinja2", None)
        record = train.run(freeze(config), directory)
    assert "test/top1_ema" in record
    assert not (directory / "report.html").exists()
    (line,) = [line for line in caplog.messages if "report" in line]
    assert "pip install 'jaxcnn[plots]'" in line
    assert train.run(freeze(config), directory) == record  # which makes what is missing
    found = html.check((directory / "report.html").read_text(encoding="utf-8"))
    assert record["state_sha256"] in found.text
    assert "finished" in found.text


@pytest.mark.exhaustive
def test_the_report_of_the_digits_is_small_and_fast(tmp_path):
    """At most 60 seconds on two cores and 5 MB."""
    short = "--config.train.length=4epochs"
    flags = ["--config=lenet5", short, f"--workdir={tmp_path / 'run'}"]
    options = {"env": environment(), "check": True, "timeout": 300, "capture_output": True}
    subprocess.run([sys.executable, "-m", "jaxcnn.main", *flags], **options)
    begun = time.monotonic()
    out = tmp_path / "report.html"
    flags = [f"--workdir={tmp_path / 'run'}", f"--out={out}"]
    subprocess.run([sys.executable, "-m", "jaxcnn.report", *flags], **options)
    assert time.monotonic() - begun < 60
    assert out.stat().st_size < 5e6
    found = html.check(out.read_text(encoding="utf-8"))
    assert short in found.text
