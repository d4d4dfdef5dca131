"""The default data set: configs end where they should, unchanged, and small networks learn it.

`pytest -n0 -m exhaustive -k digits_config --done=FILE` runs every config to its end and adds a line
to docs/digits.jsonl for each; `python docs/digits.py` makes the table of them.
"""

import json
import resource
import runpy
import subprocess
import sys
import time

import jax
import pytest

from jaxcnn.config import build, build_data, programs
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.pipeline import train_batch
from jaxcnn.models import bn_inception, googlenet
from jaxcnn.run import distributed
from jaxcnn.training.initialize import prepare_state
from tests.runs import ROOT, environment, records

FILES = sorted((ROOT / "configs").glob("*.py"))
RESULTS = ROOT / "docs" / "digits.jsonl"
page = runpy.run_path(str(ROOT / "docs" / "digits.py"))


def digits(stem):
    return runpy.run_path(str(ROOT / "configs" / f"{stem}.py"))["get_config"]()


# One small member of each family: config, fields, side of the images, epochs.
WIDTHS = googlenet.Widths(8, 8, 8, 8, 8, 8)
REDUCTION = bn_inception.Row(0, 8, 8, 8, 8, bn_inception.MAX, 0, strides=2)
ROW = bn_inception.Row(8, 8, 8, 8, 8, bn_inception.AVERAGE, 8)
SMALL = {
    "mobilenet_v1": ({"stage_sizes": (1, 1, 1), "features": (16, 16, 32, 64)}, 16, 4),
    "alexnet": ({"features": (16, 16, 32, 32, 16), "hidden_features": (64, 64)}, 64, 8),
    "vgg16": (
        {
            "stage_sizes": (1, 1, 2),
            "stage_features": (8, 16, 32),
            "pool_size": (2, 2),
            "hidden_features": (64, 64),
        },
        16,
        6,
    ),
    "cifar_resnet20": ({"stage_sizes": (1, 1), "width": 8}, 16, 4),
    "densenet_40_12": ({"stage_sizes": (2, 2), "growth_rate": 8}, 16, 4),
    "nin_cifar10": (
        {"features": ((16, 16, 16), (16, 16)), "kernel_sizes": (5, 3), "pools": ("max",)},
        16,
        12,
    ),
    "inception_v2_slim": ({"modules": ([ROW], [REDUCTION, ROW])}, 32, 4),
    "googlenet": ({"modules": 3 * ([WIDTHS],)}, 32, 6),
}
SLOWER_TO_COMPILE = ("alexnet", "inception_v2_slim", "googlenet", "nin_cifar10")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stem",
    [
        pytest.param(stem, marks=pytest.mark.exhaustive if stem in SLOWER_TO_COMPILE else ())
        for stem in SMALL
    ],
)
def test_a_small_network_of_each_family_learns_digits(stem):
    config = digits(stem)
    fields, config.data.image_size, epochs = SMALL[stem]
    config.model.overrides.update(fields)
    config.schedule.learning_rate *= 4  # so narrow a network can take it
    config.train.length = f"{epochs}epochs"
    source, test = (build_data.load_data(config, split) for split in ("train", "test"))
    plan = build.make_plan(config, source.num_examples)
    made = programs.make_programs(freeze(config), source, test, plan)
    state = distributed.replicate(prepare_state(made.initial, jax.random.key(0))())
    size = config.train.batch_size
    for step in range(plan.total):
        batch = train_batch(source, batch_size=size, seed=0, step=step)
        state, metrics = made.train_step(state, distributed.shard(batch))
        jax.block_until_ready(metrics)  # or devices wait for each other's too many steps
    top1 = made.evaluate(distributed.replicate(state.variables()))["top1"]
    assert top1 > 0.4


def core_seconds():
    """Of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.exhaustive
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_digits_config(file, tmp_path):
    begun, used = time.monotonic(), core_seconds()
    subprocess.run(
        [sys.executable, "-m", "jaxcnn.main", f"--config={file}", f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    last = records(tmp_path / "run")[-1]
    found = {
        "config": file.stem,
        "test_top1": last.get("test/top1_ema", last["test/top1"]),
        "steps": last["step"],
        "seconds": round(time.monotonic() - begun),
        "core_seconds": round(core_seconds() - used),
    }
    with RESULTS.open("a") as results:
        print(json.dumps(found), file=results)
    assert found["test_top1"] >= page["BAR"]


def test_the_page_of_the_digits_is_its_scripts():
    text = (ROOT / "docs" / "digits.md").read_text(encoding="utf-8")
    assert text == page["insert"](text), "run: python docs/digits.py"


def test_every_measured_config_but_the_deep_plain_ones_ends_above_its_bar():
    measured = page["measured"]()
    assert measured.keys() <= {file.stem for file in FILES}
    low = {
        stem: found["test_top1"]
        for stem, found in measured.items()
        if found["test_top1"] < page["BAR"]
    }
    assert low.keys() == {*page["BELOW"]}
