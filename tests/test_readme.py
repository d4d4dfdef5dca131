"""The README and the documentation: their examples run, their tables are those of the code."""

import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jaxcnn import list_models
from jaxcnn.models import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
}
NETWORKS = PAGES["networks/all.md"]
INVENTED = "mynet|NAME|all_cnn|test_grey"  # files of the exercises


@pytest.mark.slow
def test_example_runs_with_jax_and_flax_alone(tmp_path):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    check = """
import sys
assert logits.shape == (8, 10), logits.shape
assert jnp.isfinite(logits).all() and all(jnp.any(g != 0) for g in jax.tree.leaves(gradients))
loaded = {"ml_collections", "tensorflow", "grain", "sklearn", "optax"} & set(sys.modules)
assert not loaded, loaded
"""
    script = tmp_path / "example.py"
    script.write_text(example + check)
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True, timeout=300)
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


EXAMPLES = """
import re, sys, textwrap
for path in sys.argv[1:]:
    text = open(path, encoding="utf-8").read()
    blocks = re.findall(r"^ *```python\\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    for number, block in enumerate(map(textwrap.dedent, blocks), 1):
        print(path, number, flush=True)
        exec(compile(block, f"{path}, block {number}", "exec"), {"__name__": "example"})
"""


@pytest.mark.slow
def test_examples_of_the_documentation_run(tmp_path):
    paths = [str(ROOT / "docs" / name) for name in PAGES]
    program = [sys.executable, "-c", EXAMPLES, *paths]
    done = subprocess.run(program, cwd=tmp_path, check=True, timeout=300, capture_output=True)
    assert len(done.stdout.splitlines()) >= 4


FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
# What stands for a name of the reader's, and an example of it.
STANDS_FOR = {
    "configs/NAME": "configs/lenet5",
    "=NAME": "=lenet5",
    " FILE": " configs/ablations/lrn.py",
}


def commands(text):
    """The commands of a page: lines of its shell blocks, and code within sentences."""
    blocks = [textwrap.dedent(body) for kind, body in FENCE.findall(text) if kind in ("", "sh")]
    rest = FENCE.sub("", text)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:python|pip|pytest) [^`]+)`", rest.replace("\n", " "))
    for line in lines:
        for placeholder, example in STANDS_FOR.items():
            line = line.replace(placeholder, example)
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            if words[:end]:
                yield shlex.join(words[:end])
            words = words[end + 1 :]


WRONG = [
    "python -m jaxcnn.main --config=resnet51",
    "python -m jaxcnn.main --config=lenet5 --config.train.lenght=1epochs --mode=show",
    "python -m jaxcnn.main --config=lenet5 --config.model.overrides.depth=3",
    "python -m jaxcnn.predict --workdir=x --topk=many cat.jpg",
    "python -m jaxcnn.nothing",
    "python -m jaxcnn.ablate configs/ablations/nothing.py",
    "python -m jaxcnn.ablate configs/ablations/lrn.py --slow",
    "python docs/nothing.py",
    "python docs/ablations.py --nothing",
    "pip install -e .[nothing]",
    "pytest --nothing",
    "launch/nothing.sh",
    "nothing",
]


@pytest.mark.slow
def test_commands_are_right_and_wrong_ones_would_be_noticed(tmp_path):
    """See `tests.shell_blocks`, which runs where the files of the examples are."""
    right = sorted({line for text in (README, *PAGES.values()) for line in commands(text)})
    assert len(right) > 60
    for name in ("configs", "docs", "launch", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    blocks = [body for page in PAGES.values() for kind, body in FENCE.findall(page)]
    for block in blocks:
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
    (mynet,) = (block for block in blocks if "class MyNet" in block)
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "mynet.py").write_text(mynet)
    (tmp_path / "commands").write_text("\n".join(right + WRONG))
    done = subprocess.run(
        [sys.executable, "-m", "tests.shell_blocks", "commands"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == WRONG, done.stderr


def test_every_block_says_what_it_is():
    for text in (README, *PAGES.values()):
        assert {kind for kind, _ in FENCE.findall(text)} <= {"", "python", "sh", "text"}
        assert not re.search(r"^    python ", text, re.MULTILINE)


def test_files_that_they_name_are_there():
    text = "\n".join([README, *PAGES.values()])
    named = re.findall(r"(?<![\w/.])(?:configs|launch|jaxcnn|docs|tests)/[\w./]*", text)
    assert len(named) > 30
    for name in named:
        assert (ROOT / name.rstrip(".")).exists() or re.search(INVENTED, name), name


def test_the_page_of_fields_is_its_scripts():
    page = runpy.run_path(str(ROOT / "docs" / "fields.py"))["page"]()
    assert PAGES["fields.md"] == page, "run: python docs/fields.py"


def test_table_of_networks_is_up_to_date():
    """After a change: `python -m jaxcnn.models.table docs/networks/all.md`."""
    assert table.insert(NETWORKS) == NETWORKS
    names = re.findall(r"^\| `(\w+)` \| \[", NETWORKS, re.MULTILINE)
    assert sorted(names) == list_models()
    assert "| `DenseNet` | " in NETWORKS


def test_a_stale_table_is_noticed():
    stale = NETWORKS.replace("| 25,557,032 |", "| 25,557,033 |")
    assert table.insert(stale) == NETWORKS != stale
