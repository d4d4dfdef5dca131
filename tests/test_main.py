"""What a person mistypes ends in one line and an exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxcnn.config.schema import FIELDS
from tests.marks import exhaustive

ROOT = Path(__file__).parents[1]
CONFIG = f"--config={ROOT}/configs/lenet5.py"


def run(directory, *flags):
    """The command line in a process of its own, as a user without a terminal sees it."""
    return subprocess.run(
        [sys.executable, "-m", "jaxcnn.main", *flags],
        cwd=directory,
        env={**os.environ, "XDG_CACHE_HOME": str(directory / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def broken(tmp_path):
    """Config files that are none."""
    for name, text in {
        "syntax": "def get_config(:\n",
        "raises": "def get_config(dataset='digits'):\n    raise ValueError('no luck')\n",
        "missing": "import no_such_module\n",
        "without": "x = 1\n",
        "opens": "def get_config():\n    return open('missing.txt').read()\n",
        "returns": "def get_config():\n    return {'seed': 1}\n",
        "nothing": "def get_config():\n    pass\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.slow
def test_the_config_is_shown_with_the_origin_of_its_values(tmp_path):
    """By the name of a recipe, from another directory."""
    flags = ["--config=resnet18:cifar10", "--config.train.batch_size=32"]
    done = run(tmp_path, *flags, "--config.model.overrides.width=8", "--mode=show")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" = ", 1) for line in done.stdout.splitlines())
    assert lines.keys() >= {*FIELDS, "model.overrides.width"} - {"model.overrides"}
    for name, value, origin in [
        ("train.batch_size", "32", "flag"),
        ("model.overrides.width", "8", "flag"),
        ("model.name", "'resnet18'", "recipe"),
        ("data.std", "(0.247, 0.2435, 0.2616)", "data set"),
        ("seed", "0", "default"),
    ]:
        assert re.match(rf"{re.escape(value)} +{origin} +\S", lines[name]), lines[name]


OWN = """
from jaxcnn.config import recipes

def get_config():
    config = recipes.recipe("lenet5_1998")
    config.train.length = "2steps"
    return config
"""
PARTS = """
from ml_collections import ConfigDict

def get_config():
    data = {"channels": 1, "mean": (0.3,), "std": (0.3,)}
    return ConfigDict({"model": {"name": "lenet5_modern"}, "data": data})
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", [OWN, PARTS], ids=["recipe", "a part of the fields"])
def test_a_config_file_of_one_s_own_is_shown_from_another_directory(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    done = run(tmp_path, "--config=mine.py", "--mode=show", "--config.data.channels=3")
    assert done.returncode == 0, done.stderr
    assert "data.channels = 3" in done.stdout
    done = run(tmp_path, "--config=mine.py", "--mode=show", "--config.schedule.nam=x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "schedule" in done.stderr


MISTAKES = {
    "unknown flag": ([CONFIG, "--workdri=x"], "--workdri", "workdir"),
    "unknown field": ([CONFIG, "--config.train.batch_sise=8"], "train.batch_sise", "batch_size"),
    "unknown section": ([CONFIG, "--config.trian.batch_size=8"], "trian", 'mean "train"'),
    "wrong type": ([CONFIG, "--config.train.batch_size=many"], "batch_size", "many"),
    "unknown recipe": (["--config=resnet81"], "no config named 'resnet81'", "resnet18"),
    "show of a run": ([CONFIG, "--mode=show", "--workdir=x"], "--workdir", "config.json"),
    "wrong choice": ([CONFIG, "--mode=predict"], "mode", "evaluate"),
    "evaluation's flag in training": ([CONFIG, "--report=r"], "--report", "--mode=evaluate"),
    "training's flag in evaluation": (
        ["--mode=evaluate", "--workdir=w", "--profile"],
        "--profile",
        "--mode=train",
    ),
    "a checkpoint without its run": (
        ["--mode=evaluate", CONFIG, "--config.init_from=w", "--checkpoint=best"],
        "--checkpoint",
        "--workdir",
    ),
    "processes without a coordinator": (
        [CONFIG, "--num_processes=2", "--process_id=1"],
        "--num_processes",
        "--coordinator",
    ),
    "no config": ([], "--config is missing", "configs/"),
    "empty config": (["--config=", "--config.seed=3"], "--config is missing", "configs/"),
    "no such file": (["--config=configs/nothing.py"], "no config file 'configs/nothing.py'", ""),
    "no such file, and a field": (
        ["--config=configs/nothing.py:mnist", "--config.seed=3"],
        "no config file 'configs/nothing.py'",
        "",
    ),
    "no such file of ours": (
        [f"--config={ROOT}/configs/resnet20.py"],
        "there is no config file",
        "did you mean cifar_resnet20 or",
    ),
    "another program's flag": ([CONFIG, "--epochs=3"], "--epochs", "--config.train.length=20epoc"),
    "a field without its section": (
        [CONFIG, "--batch_size", "8"],
        "--batch_size",
        "--config.train.batch_size=",
    ),
    "a directory": (["--config=.", "--config.seed=3"], "is a directory", "name a file"),
    "unknown data set": ([f"{CONFIG}:digit"], "'digit'", "digits"),
    "not a flag": ([CONFIG, "train"], "'train'", "--workdir=DIR"),
    "syntax error": (["--config=syntax.py"], "SyntaxError", "syntax.py"),
    "config raises": (["--config=raises.py"], "no luck", ""),
    "config imports": (["--config=missing.py"], "no_such_module", ""),
    "config opens a file": (["--config=opens.py"], "cannot read", "missing.txt"),
    "config opens a file, and a field": (
        ["--config=opens.py", "--config.seed=3"],
        "cannot read",
        "missing.txt",
    ),
    "config returns a dict": (["--config=returns.py"], "returns dict", "recipe(NAME)"),
    "config returns nothing": (
        ["--config=nothing.py", "--config.seed=3"],
        "returns NoneType",
        "recipe(NAME)",
    ),
    "no get_config": (["--config=without.py"], "get_config", ""),
    "unknown model": (
        [CONFIG, "--config.model.name=lenet5_modrn", "--workdir=x"],
        "lenet5_modrn",
        "lenet5_modern",
    ),
    "unknown override": (
        [CONFIG, "--config.model.overrides.widht=2", "--workdir=x"],
        "widht",
        "LeNet5Modern",
    ),
    "bad length": ([CONFIG, "--config.train.length=8", "--workdir=x"], "'8'", "8epochs"),
    "bad batch": ([CONFIG, "--config.train.batch_size=0", "--workdir=x"], "batch_size=0", ""),
    "evaluate nowhere": (["--mode=evaluate"], "--workdir", ""),
    "evaluate by a misspelt field": (
        ["--mode=evaluate", "--workdir=x", "--config.eval.protocl=flip"],
        "eval.protocl",
        "eval.protocol",
    ),
    "evaluate with spaces": (
        ["--mode", "evaluate", "-workdir", "x", "--config.eval.protocol", "flip", "--debug=false"],
        "x is not the workdir",
        "config.json",
    ),
    "evaluate commas": (["--mode=evaluate", "--workdir=,"], "--workdir", ""),
    "evaluate nothing": (["--mode=evaluate", "--workdir=x"], "x", "config.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "thing", "fix"),
    [one if number % 3 == 0 else exhaustive(*one) for number, one in enumerate(MISTAKES.values())],
    ids=MISTAKES,
)
def test_a_mistake_is_one_line_and_exit_code_2(broken, flags, thing, fix):
    done = run(broken, *flags)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert thing in lines[0]
    assert fix in lines[0]
    assert "\\" not in lines[0], "escapes are for programs"
    assert "Traceback" not in lines[0]
    assert done.returncode == 2


@pytest.mark.slow
def test_debug_shows_the_traceback_before_the_line(tmp_path):
    done = run(tmp_path, "--debug", "--config=configs/nothing.py")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_a_workdir_that_cannot_be_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run(tmp_path, CONFIG, "--workdir=file")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot write to the workdir file")
    assert done.returncode == 73
    assert done.stdout == ""
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_the_last_of_two_values_of_a_field_counts(tmp_path):
    flags = ["--config.train.length=8", "--config.train.length=9"]
    assert "'9' is not a length" in run(tmp_path, CONFIG, "--workdir=x", *flags).stderr


def test_values_may_stand_behind_their_flags():
    from jaxcnn.config.flags import joined

    plain = "main --mode=evaluate --config.seed=-1 --debug --config.data.mean=(1, 2) --x= --y"
    spaced = ["main", "-mode", "evaluate", "--config.seed", "-1", "--debug", "-config.data.mean"]
    assert " ".join(joined([*spaced, "(1, 2)", "-x", "", "--y"])) == plain
    assert joined(plain.split(" --")) == plain.split(" --")
    assert joined(["main", "--debug", "--", "--a", "b"]) == ["main", "--debug", "--", "--a", "b"]
    assert joined(["main", "--a=b", "c"]) == ["main", "--a=b", "c"]


@pytest.mark.parametrize(
    ("kind", "dir", "label"),
    [
        ("digits", "", "digits"),
        ("folder", "", "folder"),
        ("folder", "photos6/", "photos6"),
        ("folder", "/data/birds/.", "birds"),
    ],
)
def test_the_default_workdir_is_called_by_the_data(kind, dir, label):
    from jaxcnn.config import datasets, recipes

    config = recipes.recipe("resnet18", kind)
    config.data.dir = dir
    assert datasets.data_label(config) == label


@pytest.mark.slow
def test_help_lists_the_flags(tmp_path):
    done = run(tmp_path, "--help")
    assert "--config" in done.stdout
    assert "--workdir" in done.stdout
    assert "Traceback" not in done.stderr
