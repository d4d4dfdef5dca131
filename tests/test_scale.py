"""docs/scale.md: the tables are what `python docs/scale.py` writes."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
docs = runpy.run_path(str(DOCS / "scale.py"))


def test_the_tables_are_those_of_today():
    text = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert text == docs["insert"](text), "run: python docs/scale.py"


def test_the_mean_of_two_devices_is_half_of_the_bytes_there_and_back():
    assert docs["all_reduce"](1e9, 1) == 0
    assert docs["all_reduce"](1e9, 2) == pytest.approx(1e9 / (0.7 * 450e9) + 1e-5)


def test_between_nodes_each_gpu_carries_its_eighth():
    within = docs["all_reduce"](1e9, 8)
    both = docs["all_reduce"](1e9, 16)
    assert both - within == pytest.approx(1e9 / 8 / (0.7 * 50e9) + 1e-5)
