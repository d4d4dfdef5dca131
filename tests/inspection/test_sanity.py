import csv
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcnn.attribution.sanity import Sanity
from jaxcnn.inspection import attributions, sanity, subject

CHECKED = ["saliency", "grad_cam"]


@pytest.mark.slow
def test_methods_of_a_run_are_checked_on_its_network(photo_run, tmp_path):
    of = subject.of_run(photo_run.workdir)
    photos = [f"{photo_run.images}/{name}/0.png" for name in ("dog", "eel")]
    cases = attributions.make_cases(of, photos, of.network.crop(photos), ["dog", "eel"])
    (asked,) = attributions.ask(of, cases)
    found = sanity.check(of, asked, CHECKED)
    assert found.methods == tuple(CHECKED)
    assert found.layers[0] == "classifier"
    assert found.rank_correlation.shape == (2, len(found.layers), 2)
    files = sanity.write(tmp_path, of, found)
    assert [file.name for file in files] == ["sanity.png", "sanity.csv"]
    assert all(file.stat().st_size for file in files)


def test_random_parameters_are_not_those_that_a_run_began_with(photo_run, monkeypatch):
    """A run of seed 0 starts from key 0, and trained parameters stay similar to their start."""
    of, keys = subject.of_run(photo_run.workdir), []
    monkeypatch.setattr(sanity, "sanity_check", lambda *args, **_: keys.append(args[4]))
    photo = f"{photo_run.images}/dog/0.png"
    cases = attributions.make_cases(of, [photo], of.network.crop([photo]), ["dog"])
    (asked,) = attributions.ask(of, cases, seed=0)
    sanity.check(of, asked, CHECKED)
    assert (jax.random.key_data(keys[0]) != jax.random.key_data(jax.random.key(0))).any()


def test_the_table_has_a_row_for_each_method_and_layer(photo_run, tmp_path):
    values = np.linspace(0, 1, 12).reshape(2, 3, 2)
    layers = ("classifier", "stage1", "stem")
    found = Sanity(tuple(CHECKED), layers, values, 1 - values, values[:, 0])
    sanity.write(tmp_path, subject.of_run(photo_run.workdir), found)
    with (tmp_path / "sanity.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["layer"]) for row in rows] == [
        (method, layer) for method in CHECKED for layer in layers
    ]
    np.testing.assert_allclose(
        [float(row["rank_correlation"]) for row in rows], values.mean(-1).ravel(), atol=1e-4
    )
    np.testing.assert_allclose(
        [float(row["ssim"]) for row in rows], 1 - values.mean(-1).ravel(), atol=1e-4
    )
    assert [row["two_images"] for row in rows] == 3 * ["0.0455"] + 3 * ["0.5909"]
    assert {row["fails"] for row in rows} == {"False"}


def test_methods_that_show_no_image_are_left_out():
    assert sanity.checkable(["saliency", "activation_maximization"]) == ["saliency"]


def test_the_table_of_the_documentation_is_that_of_its_numbers():
    """Written by `python docs/sanity.py`; which methods fail follows from the numbers."""
    docs = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("docs_sanity", docs / "sanity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    networks = module.networks()
    assert len(networks) == 3
    for panel, two_images in networks:
        assert set(two_images) == set(panel.methods)
        shape = (len(panel.methods), len(panel.layers), 1)
        correlation, ssim = (one.reshape(shape) for one in (panel.rank_correlation, panel.ssim))
        found = Sanity(panel.methods, panel.layers, correlation, ssim, np.zeros((shape[0], 1)))
        assert found.failing() == tuple(panel.failing)
    page = (docs / "inspect.md").read_text(encoding="utf-8")
    assert module.insert(page) == page
    for panel, _ in networks:
        assert panel.failing
