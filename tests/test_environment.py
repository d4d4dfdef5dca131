"""The environment of a command: its devices, its settings of jax, its terminal, its paths."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.config.config_dict import base_config
from jaxcnn.errors import UserError
from jaxcnn.io import paths, stdio
from jaxcnn.run import precision
from tests.runs import ROOT


def command(module, *flags, **changes):
    """Runs a command with other variables; returns what became of it."""
    return subprocess.run(
        [sys.executable, "-m", module, *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "platform"), [("main", "cuda"), ("predict", "nonsense"), ("interop.convert", "tpu")]
)
def test_a_platform_that_is_not_there_is_one_line(tmp_path, module, platform):
    flags = {
        "main": ["--config=configs/lenet5.py", f"--workdir={tmp_path}"],
        "predict": [f"--workdir={tmp_path}", "x.png"],
        "interop.convert": ["--library=timm", "--name=resnet18", "--source=x", "--out=y"],
    }[module]
    done = command(f"jaxcnn.{module}", *flags, JAX_PLATFORMS=platform)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: JAX_PLATFORMS={platform}: ")
    assert "JAX_PLATFORMS=cpu" in line
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("name", "value", "module"),
    [
        ("JAX_ENABLE_X64", "maybe", "predict"),
        ("JAX_LOGGING_LEVEL", "loud", "main"),
        pytest.param("JAX_NUM_CPU_DEVICES", "a", "doctor", marks=pytest.mark.exhaustive),
        pytest.param("JAX_DEBUG_NANS", "2", "export", marks=pytest.mark.exhaustive),
    ],
)
def test_a_variable_that_jax_does_not_take_is_one_line(name, value, module):
    flags = ["--config=configs/lenet5.py"] if module == "main" else []
    done = command(f"jaxcnn.{module}", *flags, **{name: value})
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {name}={value}: ")
    assert done.returncode == 2


def test_the_config_decides_and_not_the_environment():
    config = base_config()
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("bfloat16"),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.numpy_dtype_promotion("strict"),
        precision.set_precision(config),
    ):
        assert jnp.ones(2).dtype == jnp.float32
        assert jax.config.jax_default_matmul_precision is None
        assert str(jax.random.key_impl(jax.random.key(0))) == "threefry2x32"
        assert jax.config.jax_threefry_partitionable
        assert (jnp.ones(2, jnp.int32) + jnp.ones(2)).dtype == jnp.float32


def test_a_run_goes_on_under_the_variables_it_was_begun_with(monkeypatch):
    for name in precision.RECORDED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    assert precision.environment() == {}
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=1 --xla_dump_to=x --xla_a=2")
    assert precision.environment() == {"XLA_FLAGS": "--xla_a=2 --xla_b=1"}
    precision.check_environment(precision.environment(), "", "run")
    precision.check_environment(None, "", "run")
    with pytest.raises(UserError, match=r"XLA_FLAGS unset → --xla_a=2 --xla_b=1.*=XLA_FLAGS"):
        precision.check_environment({}, "", "run")
    precision.check_environment({}, "train, XLA_FLAGS", "run")
    with pytest.raises(UserError, match="NPROC 2 → unset"):
        precision.check_environment({**precision.environment(), "NPROC": "2"}, "", "run")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--workdir=~/a,~/b,c", "--workdir=/home/me/a,/home/me/b,c"),
        ("--config.data.dir=~", "--config.data.dir=/home/me"),
        ("~/cat.jpg", "/home/me/cat.jpg"),
        ("$HOME/cat.jpg", "$HOME/cat.jpg"),
        ("a~/b", "a~/b"),
        ("--config.optimizer.freeze=~bias", "--config.optimizer.freeze=~bias"),
    ],
)
def test_a_path_of_the_command_line_has_its_home(monkeypatch, given, expected):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expand_argument(given) == expected


def test_a_home_that_does_not_exist_is_said():
    with pytest.raises(UserError, match="no user 'no-such-user'"):
        paths.expand_argument("--out=~no-such-user/x")


@pytest.mark.slow
def test_every_command_expands_paths(tmp_path):
    done = command("jaxcnn.predict", "--workdir=~/none", "x.png", HOME=str(tmp_path))
    assert f"{tmp_path}/none is not the workdir" in done.stderr
    done = command("jaxcnn.main", "--config=~/none.py", HOME=str(tmp_path))
    assert f"{tmp_path}/none.py" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", ["jaxcnn.doctor", "jaxcnn.export"])
def test_any_terminal_can_show_the_text(module):
    done = command(module, "--help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "?" not in done.stdout


def test_text_that_cannot_be_encoded_is_replaced():
    stdio.codecs.register_error("plain", stdio._plain)
    assert "a → b … c ü".encode("ascii", "plain") == b"a -> b ... c ?"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_standard_output_is_said_as_what_it_is():
    program = (
        "from jaxcnn.io import stdio\nfrom jaxcnn.run import cli\nstdio.prepare()\n"
        "with cli.mistakes_in_one_line(debug=False): print('x')"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
    assert done.returncode == 73


@pytest.mark.slow
def test_closed_streams_are_no_mistake(tmp_path):
    program = f"exec {sys.executable} -m jaxcnn.doctor <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", program], cwd=ROOT, timeout=120).returncode in (0, 2)
