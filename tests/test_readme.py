"""The README and the documentation: their examples run, their tables are those of the code."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

from jaxcnn import list_models
from jaxcnn.models import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
NETWORKS = PAGES["networks.md"]
INVENTED = "mynet|NAME|all_cnn|test_grey"  # files of the exercises


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


def test_examples_of_the_documentation_run(tmp_path):
    paths = [str(ROOT / "docs" / name) for name in PAGES]
    program = [sys.executable, "-c", EXAMPLES, *paths]
    done = subprocess.run(program, cwd=tmp_path, check=True, timeout=300, capture_output=True)
    assert len(done.stdout.splitlines()) >= 4


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
    """After a change: `python -m jaxcnn.models.table docs/networks.md`."""
    assert table.insert(NETWORKS) == NETWORKS
    names = re.findall(r"^\| `(\w+)` \| \[", NETWORKS, re.MULTILINE)
    assert sorted(names) == list_models()
    assert "| `DenseNet` | " in NETWORKS


def test_a_stale_table_is_noticed():
    stale = NETWORKS.replace("| 25,557,032 |", "| 25,557,033 |")
    assert table.insert(stale) == NETWORKS != stale
