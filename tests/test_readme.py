"""What the README shows works as it stands there."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from jaxcnn import create_model, list_models
from jaxcnn.models import table

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_example_runs_with_jax_and_flax_alone(tmp_path):
    example = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
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


def test_files_that_it_names_are_there():
    named = re.findall(r"(?<![\w/.])(?:configs|launch|jaxcnn)/[\w./]*", TEXT)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name.rstrip(".")).exists(), name


def test_table_of_networks_is_up_to_date():
    """After a change: `python -m jaxcnn.models.table README.md`."""
    assert table.insert(TEXT) == TEXT
    names = re.findall(r"^\| `(\w+)` \| \[", TEXT, re.MULTILINE)
    assert sorted(names) == list_models()


def test_a_stale_table_is_noticed():
    stale = TEXT.replace("| 25,557,032 |", "| 25,557,033 |")
    assert table.insert(stale) == TEXT != stale


def test_fields_to_vary_are_fields():
    small_table = re.search(r"\| fields to vary \|\n\|---\|---\|\n(.*?)\n\n", TEXT, re.DOTALL)[1]
    covered = set()
    for line in small_table.splitlines():
        _, networks, fields, _ = line.split("|")
        names = {
            name for pattern in re.findall(r"`(.+?)`", networks) for name in list_models(pattern)
        }
        covered |= names
        known = {f.name for name in names for f in dataclasses.fields(create_model(name))}
        assert set(re.findall(r"`(\w+)`", fields)) <= known, line
    assert covered == set(list_models())
