"""The same run on 1, 2 and 4 devices, and in two processes."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config.build import make_optimizer
from jaxcnn.config.config_dict import base_config
from jaxcnn.data import load
from jaxcnn.data.augmentation.augment import AugmentConfig, augment
from jaxcnn.data.pipeline import train_batch
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.run import distributed
from jaxcnn.training.fields import LossConfig
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.losses import make_objective
from jaxcnn.training.state import initial_state, leaf_digests
from jaxcnn.training.steps import StepParts, make_train_step
from tests.runs import ROOT, environment, finish, losses, records, start

PLAIN = f"--config={ROOT}/configs/lenet5.py"
SHORT = (
    "--config.train.length=20steps",
    "--config.log.every=1steps",
    "--config.train.sync_bn=True",
)
LENET = (
    PLAIN,
    "--config.data.preprocess=mean_image",
    "--config.data.repeats=2",
    "--config.data.mixup=0.4",
    "--config.data.cutmix=1.0",
    *SHORT,
)
RESNET20 = (
    f"--config={ROOT}/configs/cifar_resnet20.py",
    "--config.model.dtype=float64",
    "--config.data.image_size=16",
    *SHORT,
)


def run(workdir, flags, devices):
    finish(start(*flags, f"--workdir={workdir}", devices=devices))
    return np.array(losses(workdir))


def launch_two_processes(workdir, flags):
    return subprocess.Popen(
        [ROOT / "launch" / "local.sh", "2", *flags, f"--workdir={workdir}"],
        env={**environment(), "DEVICES": "2", "PYTHON": sys.executable},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "devices", "tolerance"),
    [
        (LENET, [4], 1e-5),
        pytest.param(LENET, [2], 1e-5, marks=pytest.mark.exhaustive),
        pytest.param(RESNET20, [2, 4], 1e-7, marks=pytest.mark.exhaustive),
    ],
    ids=["lenet", "lenet on 2", "resnet20"],
)
def test_losses_do_not_depend_on_devices_or_processes(tmp_path, flags, devices, tolerance):
    one = run(tmp_path / "one", flags, 1)
    assert len(one) == 20
    assert one[-1] < one[0]
    others = [run(tmp_path / str(count), flags, count) for count in devices]
    finish(launch_two_processes(tmp_path / "processes", flags))
    for other in (*others, losses(tmp_path / "processes")):
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_sigterm_to_two_processes_saves_one_step_and_exits_143(tmp_path):
    flags = (PLAIN, *SHORT, "--config.train.length=2000steps")
    process = launch_two_processes(tmp_path, flags)
    deadline = time.monotonic() + 120
    while len(records(tmp_path)) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    last = records(tmp_path)[-1]["step"]
    steps = [int(name) for name in os.listdir(tmp_path / "checkpoints") if name.isdecimal()]
    assert max(steps) == last < 2000


def test_devices_see_the_global_batch_in_order():
    source = load("digits", "train", channels=1)
    whole = train_batch(source, batch_size=8, seed=0, step=3)
    split = distributed.shard(whole)
    assert split["image"].shape == (4, 2, 32, 32, 1)
    for device, shard in enumerate(split["image"].addressable_shards):
        np.testing.assert_array_equal(shard.data[0], whole["image"][2 * device : 2 * device + 2])


@pytest.mark.slow
def test_replicas_stay_bit_equal_for_20_steps():
    """Each replica carries its own state here, so a missing reduction would show."""
    model = ResNet(num_classes=10, stage_sizes=(1,), block=BasicBlock, width=4, cifar_stem=True)
    config = base_config()
    optimizer = make_optimizer(config, total_steps=20, steps_per_epoch=90)
    step = make_train_step(
        StepParts(
            model,
            optimizer,
            make_objective(LossConfig()),
            lambda images, keys: augment(
                images, keys, AugmentConfig(pad=1), mean=(0.3,), std=(0.3,)
            ),
            total_steps=20,
            ema_decay=0.9,
            axis_name=distributed.AXIS,
        )
    )
    source = load("digits", "train", channels=1, image_size=8)
    state = prepare_state(initial_state(model, optimizer, (8, 8, 1), True), jax.random.key(0))()
    stacked = jax.tree.map(lambda x: jnp.stack([x] * 4), state)
    mapped = jax.pmap(step, axis_name=distributed.AXIS)
    for number in range(20):
        batch = distributed.shard(train_batch(source, batch_size=16, seed=0, step=number))
        stacked, _ = mapped(stacked, batch)
    host = jax.device_get(stacked)
    replicas = [leaf_digests(jax.tree.map(lambda x, d=d: x[d], host)) for d in range(4)]
    assert all(replica == replicas[0] for replica in replicas)
    first = jax.device_get(state)
    assert leaf_digests(first.params) != leaf_digests(jax.tree.map(lambda x: x[0], host.params))


@pytest.mark.slow
def test_batch_that_does_not_divide_is_refused(tmp_path):
    flags = (*LENET, f"--workdir={tmp_path}", "--config.train.batch_size=30")
    _, err = finish(start(*flags, devices=4), code=2)
    assert "set --config.train.batch_size=32" in err


@pytest.mark.exhaustive
def test_a_nan_stops_the_run_and_debug_nans_names_its_line(tmp_path):
    flags = (PLAIN, *SHORT, "--config.optimizer.name=sgd", "--config.data.std=(1e-6,)")
    flags += ("--config.schedule.learning_rate=1000.0",)
    _, err = finish(start(*flags, f"--workdir={tmp_path / 'a'}"), code=65)
    assert "10 steps in a row" in err
    found = (*flags, f"--workdir={tmp_path / 'b'}", "--config.debug_nans=True")
    _, err = finish(start(*found), code=65)
    assert "jaxcnn/training/losses.py:" in err.splitlines()[-1]
