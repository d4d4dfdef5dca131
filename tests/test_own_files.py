"""A user's own config, data and ablation, as the documentation has them, in another directory."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcnn import ablate, ablation, data
from jaxcnn.config import build_data, config_dict, datasets, user_modules
from jaxcnn.data import from_arrays
from jaxcnn.errors import UserError
from tests.runs import records

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A directory with the files that the blocks of the documentation name in their first line."""
    for page in ("training.md", "ablations.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for name, block in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
            (tmp_path / name).write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mydata", raising=False)
    monkeypatch.setattr(data, "LOADERS", {})
    return tmp_path


def own_config(directory):
    return config_dict.freeze(runpy.run_path(str(directory / "mine.py"))["get_config"]())


@pytest.mark.slow
def test_own_data_and_config_train_from_their_directory(own):
    def main(*flags):
        command = [sys.executable, "-m", "jaxcnn.main", "--config", "mine.py", *flags]
        return subprocess.run(
            command, cwd=own, capture_output=True, text=True, timeout=200, check=False
        )

    with (own / "mine.py").open("a") as file:
        file.write('\n\nwith open("executed", "a") as file:\n    file.write("once ")\n')
    done = main("-config.train.length=2steps", "--config.eval.every=never")
    assert done.returncode == 0, done.stderr
    assert (own / "executed").read_text() == "once "
    last = records(own / "runs" / "mine-mydata")[-1]
    assert last["step"] == 2
    assert 0 <= last["test/top1"] <= 1


def test_own_data_have_all_splits(own):
    config = own_config(own)
    with pytest.raises(UserError, match=r"runs only if you name it yourself.*kind=mydata:load"):
        build_data.load_data(config, "train")  # a name that only a workdir contains
    assert "mydata" not in sys.modules
    user_modules.import_data(config.data.kind)
    sources = {split: build_data.load_data(config, split) for split in data.SPLITS}
    assert [source.num_examples for source in sources.values()] == [224, 32, 256]
    assert {source.class_names for source in sources.values()} == {("dark", "light")}
    assert build_data.validation_split(config) == "validation"
    parts = sources["train"].contents()["parts"]
    assert sum(parts.values()) == 256
    assert sources["train"].contents() == sources["validation"].contents()
    assert sources["train"].contents()["sha256"] != sources["test"].contents()["sha256"]
    assert datasets.data_label(config) == "mydata"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("no_such_module:load", "cannot import no_such_module"),
        ("mydata:loud", "mydata has no loud"),
        ("math:pi", r"is no function: write load\(split, config\)"),
        ("my data:load", "write MODULE:FUNCTION"),
    ],
)
@pytest.mark.usefixtures("own")
def test_data_that_cannot_be_imported_are_said_in_one_line(kind, line):
    with pytest.raises(UserError, match=line) as error:
        user_modules.import_data(kind)
    assert "\n" not in str(error.value)


def test_own_data_of_another_form_are_refused():
    images, labels, names = np.zeros((4, 8, 8, 1), np.uint8), np.arange(4) % 2, ("a", "b")
    for wrong, line in (
        ((images / 2, labels, names), r"are float64 \(4, 8, 8, 1\): give uint8"),
        ((images[0], labels, names), "give uint8"),
        ((images, labels[:3], names), "one whole number for each of the 4 images"),
        ((images, labels + 1, names), "are 1 to 2: its 2 classes are 0 to 1"),
    ):
        with pytest.raises(UserError, match=line):
            from_arrays("mine", "train", *wrong)


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        (lambda split, config: None, "returns a NoneType"),
        (
            lambda split, config: from_arrays(
                "mine", split, np.zeros((2, 8, 8, 1), np.uint8), [0, 1], "ab"
            ),
            r"images of \(8, 8, 1\), not \(32, 32, 1\): set data.image_size",
        ),
    ],
)
def test_what_an_own_function_returns_is_checked(own, monkeypatch, returned, line):
    monkeypatch.setitem(data.LOADERS, "mydata:load", returned)
    with pytest.raises(UserError, match=line):
        build_data.load_data(own_config(own), "train")


@pytest.mark.slow
def test_own_ablation_is_listed_from_its_directory(own, capsys):
    plan, text = ablation.load(Path("widths.py"))
    assert text.startswith("Two widths.")
    ablate.compared(plan)  # the sizes are as it says
    ablate.main(ablate.parse(["widths.py", "--seeds=1", "--list"]))
    assert capsys.readouterr().out.splitlines() == ["0 narrow, seed 0", "1 wide, seed 0"]
