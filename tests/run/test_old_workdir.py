"""A workdir of an older version is evaluated, predicted and continued.

`old_workdir.tar.gz` is a run of 8 steps on digits, with averaged weights and two parts of a batch,
which was killed after its checkpoint of step 4. Its records go on to step 8, for comparison. It was
written before configs were dataclasses; its fields have their former names (`config/renamed.py`).
"""

import json
import logging
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcnn import load, predict
from jaxcnn.evaluation import evaluate
from jaxcnn.run import workdir
from tests import runs

CONTINUE = """
import pathlib, sys
from jaxcnn.run import workdir
from jaxcnn.training import train
directory = pathlib.Path(sys.argv[1])
train.run(workdir.read_config(directory), directory)
"""
# What the version that wrote it predicted for `ramp`.
RAMP = [0.04455, 0.07526, 0.13544, 0.12570, 0.08950, 0.12226, 0.09323, 0.12902, 0.07412, 0.11092]


@pytest.fixture
def old(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("jaxcnn"), "propagate", True)
    with tarfile.open(Path(__file__).with_name("old_workdir.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    yield tmp_path / "workdir"
    assert "left out" not in caplog.text
    assert "differs" not in caplog.text


def test_its_fields_have_their_present_names(old):
    assert json.loads((old / "config.json").read_text())["train"]["accumulate"] == 2
    config = workdir.read_config(old)
    assert config.train.grad_accum_steps == 2
    assert config.optimizer.lr_multipliers == (("scale$", 0.5),)
    assert config.data.random_erasing_area == (0.1, 0.4)


@pytest.mark.slow
def test_it_is_evaluated_as_it_was(old):
    (before,) = (r for r in runs.records(old) if r["step"] == 4 and "test/loss" in r)
    found = evaluate.run(old)
    assert found["step"] == 4
    assert {f"test/{key}" for key in ("loss", "top1", "loss_ema", "top1_ema")} <= found.keys()
    for key, value in found.items():
        assert value == pytest.approx(before[key], rel=1e-4), key


def test_it_predicts_as_it_did(old, tmp_path):
    ramp = (4 * np.arange(64, dtype=np.uint8)).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    ((_, guesses),) = predict.predict(load(old), [tmp_path / "ramp.png"], top_k=10)
    found = {guess.label: guess.probability for guess in guesses}
    np.testing.assert_allclose([found[label] for label in range(10)], RAMP, atol=1e-4)


@pytest.mark.slow
def test_it_continues_as_it_did(old):
    before = runs.lasting(old)
    subprocess.run([sys.executable, "-c", CONTINUE, str(old)], env=runs.environment(), check=True)
    after = runs.lasting(old)
    assert after[-1].pop("protocol") == "center"
    assert len(after[-1].pop("state_sha256")) == len(after[-1].pop("record_sha256")) == 64
    assert [record["step"] for record in after] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 8]
    for record, former in zip(after, [*before, before[-1]], strict=True):
        assert record == pytest.approx(former, rel=1e-3)
    assert json.loads((old / "config.json").read_text())["train"]["grad_accum_steps"] == 2
