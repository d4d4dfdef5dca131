import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.config import build, config_dict, programs
from jaxcnn.data.datasets.synthetic import load_synthetic
from jaxcnn.models import registry
from jaxcnn.models.lenet import LeNet5
from jaxcnn.run import distributed, program_cache
from jaxcnn.run.program_cache import ProgramCache, open_cache

ROOT = Path(__file__).parents[2]


class Traced:
    """A function that counts how often it is traced."""

    __name__ = "traced"

    def __init__(self):
        self.count = 0

    def __call__(self, tree, scale):
        self.count += 1
        return {"sum": tree["a"].sum() * scale, "rest": [jnp.sin(tree["b"])]}


def arguments(rows=3, dtype=np.float32):
    return {"a": np.arange(rows, dtype=dtype), "b": np.ones(2, np.float32)}, np.float32(2)


def run(cache, function, *given):
    return jax.jit(cache.traced(function))(*given)


@pytest.fixture
def cache(tmp_path):
    return ProgramCache(tmp_path / "traced", "a run")


def test_a_program_from_a_file_is_the_function(cache):
    function, given = Traced(), arguments()
    plain = jax.jit(function)(*given)
    for _ in range(3):
        found = run(cache, function, *given)
        assert jax.tree.structure(found) == jax.tree.structure(plain)
        jax.tree.map(np.testing.assert_array_equal, found, plain)
    assert function.count == 2  # by itself, and for the file


@pytest.mark.parametrize("change", ["shape", "dtype", "form", "made of", "source", "setting"])
def test_what_a_program_is_made_of_is_traced_again(change, cache, monkeypatch):
    function, given = Traced(), arguments()
    run(cache, function, *given)
    if change == "shape":
        given = arguments(rows=4)
    if change == "dtype":
        given = arguments(dtype=np.int32)
    if change == "form":
        given = {**given[0], "c": given[0]["a"]}, given[1]
    if change == "made of":
        cache = cache._replace(made_of="another run")
    if change == "source":
        monkeypatch.setattr(program_cache, "_sources", lambda: "edited")
    precision = "float32" if change == "setting" else None
    for _ in range(2):
        with jax.default_matmul_precision(precision):
            run(cache, function, *given)
        assert function.count == 2


@pytest.mark.parametrize("damage", [lambda x: x[:-1], lambda x: b"", lambda x: x + b"\0"])
def test_a_damaged_file_is_written_again(damage, cache):
    function, given = Traced(), arguments()
    run(cache, function, *given)
    [file] = cache.folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    run(cache, function, *given)
    assert function.count == 2
    run(cache, function, *given)
    assert function.count == 2


def test_a_folder_that_cannot_be_written_stops_nothing(cache):
    cache.folder.write_text("no folder")
    assert run(cache, Traced(), *arguments())["sum"] == 6


def test_the_files_used_last_stay(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "MOST_FILES", 2)
    functions = [Traced() for _ in range(3)]
    caches = [cache._replace(made_of=str(number)) for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        run(caches[number], functions[number], *arguments())
    assert [function.count for function in functions] == [1, 2, 1]


def test_the_digest_is_of_all_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(program_cache, "_PACKAGE", tmp_path)
    digest, found = program_cache._sources.__wrapped__, set()
    (tmp_path / "a.py").write_text("x = 1\n")
    found.add(digest())
    (tmp_path / "a.py").write_text("x = 2\n")
    found.add(digest())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.py").write_text("")
    found.add(digest())
    assert len(found) == 3


@contextlib.contextmanager
def enabled():
    jax.config.update("jax_enable_compilation_cache", True)
    yield
    jax.config.update("jax_enable_compilation_cache", False)


def test_a_cache_is_of_one_process_on_the_cpu_with_the_cache_of_jax(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_cache("x") is None  # these tests are without
    with enabled():
        assert open_cache("x") == ProgramCache(tmp_path / "jaxcnn" / "traced", "x")
        for name, value in {"platform": "gpu", "process_count": 2}.items():
            with monkeypatch.context() as patch:
                patch.setattr(distributed, name, lambda value=value: value)
                assert open_cache("x") is None
        with jax.disable_jit():
            assert open_cache("x") is None


def small_config(**fields):
    config = config_dict.base_config()
    config.model.name = "lenet5_modern"
    config.train.batch_size = 8
    with config.unlocked():
        for name, value in fields.items():
            section, _, key = name.rpartition("__")
            part = config[section] if section else config
            part[key] = value
    return config_dict.freeze(config)


def make(config, **fields):
    given = {"image_size": 16, "channels": 1, "num_classes": 2, "num_examples": 64}
    dataset = load_synthetic("train", **(given | fields))
    plan = build.make_plan(config, dataset.num_examples)
    return programs.make_programs(config, dataset, dataset, plan, cached=True)


def one_step(made, rows=8):
    pixels, devices = 16, jax.local_device_count()
    draws = np.random.default_rng(0)
    batch = {"image": draws.integers(0, 255, (rows, pixels, pixels, 1), np.uint8)}
    for name in ("label", "index", "epoch", "repeat"):
        batch[name] = np.arange(rows, dtype=np.int32) % 2
    batch["weight"] = np.ones(rows, np.float32)
    assert rows % devices == 0
    state = distributed.replicate(made.initial.program(jax.random.key(0)))
    return distributed.fetch(made.train_step(state, distributed.shard(batch)))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Returns the number of programs that are kept; runs keep theirs here."""
    monkeypatch.setattr(
        programs, "open_cache", lambda made_of: ProgramCache(tmp_path / "traced", made_of)
    )
    return lambda: len(list((tmp_path / "traced").glob("*")))


def test_a_run_from_files_has_the_bits_of_one_that_traces(files, monkeypatch):
    config = small_config(train__ema_decay=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(programs, "open_cache", lambda made_of: None)
        plain = one_step(make(config))
    assert files() == 0
    written = one_step(make(config))
    assert files() == 2  # the initial state, the step

    def traced_again(*given):
        raise AssertionError

    monkeypatch.setattr(program_cache.export, "export", traced_again)
    read = one_step(make(dataclasses.replace(config, seed=1)))  # keys are arguments
    for found in (written, read):
        assert jax.tree.structure(found) == jax.tree.structure(plain)
        jax.tree.map(np.testing.assert_array_equal, found, plain)


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({"model__overrides": {"act": "tanh"}}, {}),
        ({"optimizer__weight_decay": 0.1}, {}),
        ({"schedule__learning_rate": 0.3}, {}),
        ({"loss__label_smoothing": 0.2}, {}),
        ({"loss__class_weights": (1.0, 2.0)}, {}),
        ({"train__length": "3epochs"}, {}),
        ({"data__pad": 3}, {}),
        ({}, {"num_examples": 80}),
        ({}, {"num_classes": 3}),
        ({}, {"image_size": 20}),
    ],
)
def test_another_run_is_traced(config, data, files):
    make(small_config())
    assert files() == 1
    make(small_config(**config), **data)
    assert files() == 2


def test_networks_of_a_user_and_searches_for_a_nan_are_traced(files, monkeypatch):
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    jaxcnn.register_model("own_net", LeNet5, num_classes=10, input_size=(32, 32, 1))
    make(small_config(model__name="own_net"), image_size=32)
    make(small_config(debug_nans=True))
    assert files() == 0
    make(small_config(model__name="lenet5"), image_size=32)
    assert files() == 1


@pytest.mark.slow
def test_the_command_keeps_its_programs(tmp_path):
    folder = tmp_path / "jaxcnn" / "traced"
    given = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for seed in (0, 1):
        command = [sys.executable, "-m", "jaxcnn.main", f"--config={ROOT}/configs/lenet5.py"]
        flags = (f"--config.seed={seed}", "--config.train.length=2steps", f"--workdir=run{seed}")
        done = [*command, *flags, "--config.log.report=False"]
        subprocess.run(done, cwd=tmp_path, env=given, check=True, capture_output=True, timeout=300)
        assert len(list(folder.iterdir())) == 2
