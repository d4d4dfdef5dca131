"""What a run tells while it goes on."""

import time
from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.config.config_dict import base_config
from jaxcnn.data import load
from jaxcnn.run.progress import ProgressMeter
from jaxcnn.training.schedules import Plan

PLAN = Plan(100, Fraction(10), log=None, evaluate=None, save=None)


def metrics(**values):
    base = {"loss": 2.0, "top1": 0.5, "grad_norm": 1.0, "learning_rate": 0.1, "skipped": 0}
    found = {key: jnp.asarray(value) for key, value in (base | values).items()}
    mesh = jax.sharding.Mesh(jax.local_devices(), ("batch",))
    return jax.device_put(found, jax.NamedSharding(mesh, jax.P()))


@pytest.fixture
def meter():
    source = load("synthetic", "train", num_examples=64, image_size=8, channels=3, num_classes=5)
    return ProgressMeter(base_config(), source, PLAN, start=0)


def test_steps_of_one_call_count_as_those_of_several(meter):
    stacked = {
        "loss": [1.0, 2.0, 4.0, 0.0],
        "top1": [0.0, 0.2, 0.7, 0.0],
        "grad_norm": [1.0, 1.0, jnp.nan, 0.0],
        "learning_rate": [0.3, 0.2, 0.1, 0.0],
        "skipped": [0, 0, 1, 0],
    }
    meter.add(range(1, 4), metrics(**stacked))
    record = meter.close(3)
    assert (record["train/loss"], record["train/skipped"]) == (1.5, 1)
    assert record["train/learning_rate"] == pytest.approx(0.1)
    assert record["epoch"] == 0.3
    assert record["images_per_second"] == 0  # no step but those that were compiled


def test_waiting_for_data_counts_only_when_the_devices_wait(meter):
    def slow(batches):
        for batch in batches:
            time.sleep(0.05)
            yield batch

    for number, _ in enumerate(meter.timed(slow(range(6))), 1):
        meter.add(range(number, number + 1), metrics())
    assert meter.close(6)["waiting_for_data"] > 0.5
    assert "waiting for data" in meter.line
    meter.resume()
    for number, _ in enumerate(meter.timed(iter(range(3))), 7):
        time.sleep(0.01)
        meter.add(range(number, number + 1), metrics())
    assert meter.close(9)["waiting_for_data"] < 0.1
    assert "waiting for data" not in meter.line
