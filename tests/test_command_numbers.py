"""Numbers and names of the command lines that no command can do anything with: one line each."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import ablate, features, predict, preview
from jaxcnn.benchmark import __main__ as benchmark
from jaxcnn.config import build, config_dict, programs
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.datasets.synthetic import load_synthetic
from jaxcnn.data.prepare import __main__ as prepare
from jaxcnn.errors import UserError
from jaxcnn.training.initialize import check_memory


def run_ablate(*flags):
    ablate.main(ablate.parse(["configs/ablations/degradation.py", "--list", *flags]))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seeds=0", "--seeds=0 is too small: 1 or more"),
        ("--seeds=1000000000000", "--seeds=1000000000000 is too large: 500 or less"),
        ("--jobs=nan", "--jobs=nan is not a whole number"),
        ("--hours=-1", "--hours=-1.0 is not a number of hours"),
        ("--hours=nan", "--hours=nan is not a number of hours"),
        ("--data=cifar", "--data=cifar: did you mean cifar10"),
        ("--sedes=3", "no flag --sedes: did you mean --seeds"),
    ],
)
def test_ablate(flag, message, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    with pytest.raises(UserError) as info:
        run_ablate(flag)
    assert str(info.value).startswith(message)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seconds=nan", "--seconds=nan is not a number from 0"),
        ("--seconds=inf", "--seconds=inf is not a number from 0"),
        ("--seconds=-1", "--seconds=-1 is not a number from 0"),
        ("--batch=10000000000", "--batch=10000000000 is too large"),
        ("--rounds=1e9", "--rounds=1e9 is not a whole number"),
        ("--size=-1", "--size=-1 is too small: 0 or more"),
        ("--batsh=1", "no flag --batsh: did you mean --batch"),
    ],
)
def test_benchmark(flag, message):
    with pytest.raises(UserError) as info:
        benchmark.parse(["--model=lenet5", flag])
    assert str(info.value).startswith(message)


@pytest.mark.parametrize(("name", "number"), [("step", 10**21), ("step", -1), ("count", 10**21)])
def test_preview(name, number):
    with pytest.raises(UserError, match=f"--{name}={number} is too (small|large)"):
        preview.cells(config_dict.base_config(), **{name: number})


def test_prepare():
    with pytest.raises(UserError, match=r"--allow-bad=10{30} is too large"):
        prepare.parse(["folder", "--source=photos", f"--allow-bad={10**30}"])


@pytest.mark.parametrize(
    ("command", "flag"), [(predict, "--topk"), (predict, "--batch"), (features, "--neighbours")]
)
def test_commands_of_trained_networks(command, flag):
    with pytest.raises(UserError, match=f"{flag}=10{{30}} is too large"):
        command.parse(["--workdir=runs/none", "photos", f"{flag}={10**30}"])


@pytest.mark.parametrize(
    "overrides", [{"stage_sizes": 2}, {"width": 0}, {"width": 1.5}, {"stage_sizes": (0, 0)}]
)
def test_a_network_that_its_overrides_make_impossible_is_one_line(overrides):
    config = config_dict.base_config()
    config.model.name = "resnet18"
    config.model.overrides = {"stage_sizes": (1, 1), **overrides}
    dataset = load_synthetic("train", image_size=16, channels=1, num_classes=2, num_examples=64)
    config.train.batch_size = 8
    plan = build.make_plan(config, dataset.num_examples)
    with pytest.raises(
        UserError, match=r"no resnet18 with .* \(\w+Error: .*model\.overrides"
    ) as info:
        programs.make_programs(freeze(config), dataset, dataset, plan)
    assert "\n" not in str(info.value)


def test_a_state_larger_than_the_memory_is_refused():
    check_memory({"kernel": jax.ShapeDtypeStruct((10, 10), jnp.float32)})
    with pytest.raises(UserError, match="are 3,725,290 GiB, and this machine has"):
        check_memory({"kernel": jax.ShapeDtypeStruct((10**6, 10**9), jnp.float32)})


def test_a_mistake_is_a_value_error():
    assert issubclass(UserError, ValueError)
