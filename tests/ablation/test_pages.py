"""docs/ablations/: the pages are what `python docs/ablations.py` writes of the stored runs."""

import runpy
from pathlib import Path

import pytest

from jaxcnn import ablation

ROOT = Path(__file__).parents[2]
docs = runpy.run_path(str(ROOT / "docs" / "ablations.py"))
RUN = "run: python docs/ablations.py"


@pytest.mark.parametrize("file", docs["FILES"], ids=lambda file: file.stem)
def test_a_page_is_that_of_its_runs(file):
    """And the runs are of the variants that the file has today."""
    stored = docs["PAGES"] / f"{file.stem}.md"
    assert stored.read_text(encoding="utf-8") == docs["page"](file), RUN


@pytest.mark.slow
def test_the_overview_is_that_of_the_pages():
    text = (docs["DOCS"] / "ablations.md").read_text(encoding="utf-8")
    assert text == docs["insert"](text), RUN
    pages = {page.stem for page in docs["PAGES"].glob("*.md")}
    assert pages == {file.stem for file in docs["FILES"]}


def test_the_readme_counts_them():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    run = len(list(docs["PAGES"].glob("*.jsonl")))
    assert f"**{len(docs['FILES'])} ablations**" in readme
    assert f"; {run} were run so far" in readme


@pytest.mark.slow
def test_stored_runs_are_whole_and_have_a_figure():
    for stored in docs["PAGES"].glob("*.jsonl"):
        plan, _ = ablation.load(ROOT / "configs" / "ablations" / f"{stored.stem}.py")
        found = docs["stored_runs"](ROOT / "configs" / "ablations" / f"{stored.stem}.py", plan)
        for variant in plan.variants:
            assert len(found.values[variant]) >= plan.seeds >= 5
        assert stored.with_suffix(".svg").exists()
