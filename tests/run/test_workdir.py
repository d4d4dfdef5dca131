import contextlib
import dataclasses
import functools
import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from jaxcnn.config import build_data, config_dict, recipes, resume
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.errors import EXIT_WORKDIR, UserError
from jaxcnn.run import workdir

HOLD = """
import sys, time
from pathlib import Path
from jaxcnn.run.workdir import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the workdir."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_held_workdir_is_refused_until_its_holder_is_killed(tmp_path, holder):
    for _ in range(2):  # a refusal must not wipe out the holder's name
        with (
            pytest.raises(UserError, match=rf"in use by process {holder.pid} on ") as info,
            workdir.locked(tmp_path / "run"),
        ):
            pass
        assert info.value.exit_code == EXIT_WORKDIR
    holder.kill()
    holder.wait()
    with workdir.locked(tmp_path / "run"):
        assert str(holder.pid) not in (tmp_path / "run" / ".lock").read_text()


def test_statistics_are_measured_once_and_again_for_other_images(tmp_path):
    config, said = recipes.recipe("lenet5_modern", "synthetic"), []
    config.data.update(preprocess="mean_image", num_examples=40, image_size=4)

    def keep():
        dataset = build_data.load_data(config, "train")
        workdir.keep_statistics(tmp_path, config, dataset, said.append)
        return dataset, workdir.read_statistics(tmp_path, config)

    dataset, statistics = keep()
    np.testing.assert_allclose(statistics.mean, (dataset.images / 255).mean(0), atol=1e-6)
    assert said == ["measuring 40 training images for mean_image …"]
    file = tmp_path / workdir.STATISTICS
    before = file.stat().st_mtime_ns
    keep()
    assert file.stat().st_mtime_ns == before
    config.data.num_examples = 41
    keep()
    assert file.stat().st_mtime_ns != before
    assert len(said) == 2
    file.unlink()
    with pytest.raises(UserError, match=r"statistics\.npz is missing or damaged"):
        workdir.read_statistics(tmp_path, config)
    keep()
    assert len(said) == 3
    config.data.preprocess = "channels"
    assert workdir.read_statistics(tmp_path / "nowhere", config) is None


def test_a_workdir_is_made_and_let_go_again(tmp_path):
    for _ in range(2):
        with workdir.locked(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").is_dir()


def test_a_file_where_the_workdir_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot write") as info, workdir.locked(path):
            pass
        assert info.value.exit_code == EXIT_WORKDIR
    assert (tmp_path / "file").read_text() == "mine"


# Config -----------------------------------------------------------------------------------------


def config_with(**changes):
    """A config with fields changed: section__field=value."""
    config = recipes.recipe("densenet_40_12", "cifar10")
    config.model.overrides.dropout_rate = 0.2
    for name, value in changes.items():
        *sections, field = name.split("__")
        section = functools.reduce(lambda part, name: part[name], sections, config)
        section[field] = value
    return freeze(config)


def typed(values):
    """Nested values with their types, so that (1,) is not [1] and 1 is not 1.0."""
    if isinstance(values, dict):
        return {key: typed(value) for key, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values), [typed(value) for value in values]
    return type(values), values


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        config_with(),
        freeze(recipes.recipe("resnet50", "imagenet2012")),
        config_with(schedule__learning_rate=1.0, eval__scales=(9,), optimizer__freeze=("a", "b")),
    ],
    ids=["base", "densenet", "resnet", "changed"],
)
def test_a_saved_config_comes_back_with_its_types(tmp_path, config):
    values = typed(dataclasses.asdict(config))
    assert typed(dataclasses.asdict(config_dict.from_saved(config_dict.to_saved(config)))) == values
    workdir.write_config(tmp_path, config)
    assert typed(dataclasses.asdict(workdir.read_config(tmp_path))) == values
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_nested_tuples_come_back_as_tuples():
    config = changed(RunConfig(), {"model.overrides.stages": ((1, 64), (2, 128))})
    found = config_dict.from_saved(config_dict.to_saved(config))
    assert found.model.overrides == {"stages": ((1, 64), (2, 128))}


def test_a_field_that_an_older_config_does_not_have_gets_its_default():
    saved = config_dict.to_saved(config_with(train__batch_size=17))
    del saved["train"]["max_skipped"], saved["log"]
    found = config_dict.from_saved(saved)
    assert found.train.batch_size == 17
    assert found.train.max_skipped == config_dict.base_config().train.max_skipped
    assert found.log.every == config_dict.base_config().log.every


def test_a_field_that_this_version_does_not_have_is_said_and_refused(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("jaxcnn"), "propagate", True)
    saved = config_dict.to_saved(config_with())
    saved["train"]["lookahead"], saved["quantum"] = 5, {"bits": 3}
    found = config_dict.from_saved(saved)
    assert config_dict.to_saved(found) == config_dict.to_saved(config_with())
    assert "left out: train.lookahead=5, quantum={'bits': 3}" in caplog.text
    with pytest.raises(UserError, match=r"train\.lookahead 5 → unset"):
        resume.check_unchanged(config_with(), saved, "runs/x")
    here = config_with(allow_change="train.lookahead,quantum")
    resume.check_unchanged(here, saved, "runs/x")


def test_other_data_are_refused_with_the_difference():
    before = {
        "train": {"parts": {"cat": 20, "dog": 20}, "sha256": "a"},
        "test": {"parts": {"3": 5}, "version": "mnist 3.0.1"},
    }
    config = config_with()
    resume.check_data(config, None, before, "runs/x")
    resume.check_data(config, before, before, "runs/x")
    for changes, message in [
        ({"train": {"parts": {"cat": 21, "dog": 20}}}, "train: cat 20 → 21 examples"),
        ({"train": {"parts": {"cat": 20}}}, "train: dog 20 → 0 examples"),
        ({"train": before["train"] | {"sha256": "b"}}, "train: other files, as many as before"),
        ({"test": before["test"] | {"version": "mnist 4"}}, "test: version mnist 3.0.1 → mnist 4"),
        ({"validation": {"parts": {"cat": 3}}}, "validation: cat 0 → 3 examples"),
    ]:
        match = f"^runs/x was started with different data: {message}. .*--config.allow_change=data$"
        with pytest.raises(UserError, match=match):
            resume.check_data(config, before, before | changes, "runs/x")
        resume.check_data(config_with(allow_change="data"), before, before | changes, "runs/x")


def test_a_directory_without_a_config_is_no_workdir(tmp_path):
    with pytest.raises(UserError, match=r"not the workdir of a run.*config\.json"):
        workdir.read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"train": 3}', '{"train": {"length": 5}}'])
def test_an_unreadable_config_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        workdir.read_config(tmp_path)


def test_the_description_of_a_run_is_json():
    config = config_with()
    meta = workdir.describe_run(config, 10)
    assert json.loads(json.dumps(meta)) == meta
    assert meta["config"] == config_dict.to_saved(config)
    assert {"python", "jax", "flax", "optax", "orbax-checkpoint"} <= meta["versions"].keys()
    assert meta["hardware"]["processor"]
    assert 1 <= meta["hardware"]["cores"] <= os.cpu_count()
    assert meta["hardware"]["memory"] > 2**28
    assert meta["command"].startswith("python ")


def test_peak_memory_is_that_of_the_process_and_never_falls():
    program = (
        "from jaxcnn.run import versions\n"
        "before = versions.peak_memory()\n"
        "block = bytearray(b'x' * 2**26)\n"
        "during = versions.peak_memory()\n"
        "del block\n"
        "print(before, during, versions.peak_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    before, during, after = map(int, done.stdout.split())
    assert 2**22 < before < during - 2**25
    assert after >= during


# Going on with another config -------------------------------------------------------------------


def check(here, there):
    resume.check_unchanged(here, config_dict.to_saved(there), "runs/x")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"log__every": "1steps", "log__tensorboard": True},
        {"checkpoint__every": "3steps", "checkpoint__keep_latest": 9},
        {"eval__every": "2epochs", "eval__batch_size": 8},
        {"data__dir": "/elsewhere", "data__num_workers": 7, "data__max_bad_fraction": 0.5},
        {"debug_nans": True, "train__max_skipped": 3, "train__watchdog_seconds": 9.0},
        {"allow_change": "seed"},
        {"train__steps_per_call": 7, "eval__protocol": "flip", "eval__scales": (256,)},
        {"model__overrides__scan_units": True, "model__overrides__remat": True},
    ],
    ids=lambda changes: ",".join(changes) or "none",
)
def test_what_does_not_change_the_numbers_is_free(changes):
    check(config_with(**changes), config_with())


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({"seed": 1}, ["seed 0 → 1"]),
        ({"train__batch_size": 128}, [r"train\.batch_size 64 → 128"]),
        ({"data__mean": (0.5,)}, [r"data\.mean \[0\.4914, .*\] → \[0\.5\]"]),
        (
            {"optimizer__momentum": 0.8, "schedule__learning_rate": 0.2, "log__every": "1steps"},
            [r"optimizer\.momentum 0\.9 → 0\.8", r"schedule\.learning_rate 0\.1 → 0\.2"],
        ),
    ],
    ids=["top", "number", "tuple", "two"],
)
def test_differences_are_listed_with_the_way_to_allow_them(changes, listed):
    here, there = config_with(**changes), config_with()
    names = ",".join(item.split(" ", 1)[0] for item in listed)
    message = rf"^runs/x was started .*: {'; '.join(listed)}\. .*--config\.allow_change={names}$"
    with pytest.raises(UserError, match=message):
        check(here, there)
    check(changed(here, {"allow_change": names.replace("\\", "")}), there)


def test_an_override_that_was_taken_away_differs():
    here = freeze(recipes.recipe("densenet_40_12", "cifar10"))
    with pytest.raises(UserError, match=r"model\.overrides\.dropout_rate 0\.2 → unset"):
        check(here, config_with())


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [
        ("train", True),
        (" seed , train ", True),
        ("train.batch_size,train.length", True),
        ("train.batch_size", False),
        ("train.batch", False),
        ("schedule", False),
        ("", False),
    ],
)
def test_a_change_is_allowed_by_field_or_section(allowed, passes):
    here = config_with(train__batch_size=8, train__length="1epochs", allow_change=allowed)
    with contextlib.nullcontext() if passes else pytest.raises(UserError, match=r"train\.length"):
        check(here, config_with())


def test_a_run_of_an_older_version_can_go_on():
    saved = config_dict.to_saved(config_with())
    del saved["train"]["max_skipped"], saved["schedule"]["power"]
    resume.check_unchanged(config_with(), saved, "runs/x")
