"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


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
