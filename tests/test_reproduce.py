"""docs/reproduce.md: the tables are what `python docs/reproduce.py` writes."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
docs = runpy.run_path(str(DOCS / "reproduce.py"))


def test_the_tables_are_those_of_today():
    text = (DOCS / "reproduce.md").read_text(encoding="utf-8")
    assert text == docs["insert"](text), "run: python docs/reproduce.py"


def test_hours_are_those_of_the_measured_rate_or_in_proportion():
    found = {one.config: one for one in docs["results"]()}
    images = 1_281_167 * found["vgg16"].epochs
    assert found["vgg16"].measured
    assert abs(found["vgg16"].hours - images / 4631 / 3600) < 1e-6
    assert not found["vgg13"].measured
    assert 0.7 < found["vgg13"].hours / found["vgg16"].hours < 0.8  # 11.3 of 15.5 GMACs
