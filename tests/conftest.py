"""Every test sees four CPU devices, no implicit rank promotion, and no network."""

import os
import signal
import tempfile
from pathlib import Path

from tests.compiling import QUICKLY, flags

# Compiled as a user's are whole runs in processes of their own (`tests.runs`), what is compared
# with other libraries (`tests/parity`), and with XLA_FLAGS=--xla_backend_optimization_level=3 all
# tests.
os.environ["XLA_FLAGS"] = (
    ("" if "optimization_level" in os.environ.get("XLA_FLAGS", "") else flags(QUICKLY) + " ")
    + os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

# The commands under test inherit what `nohup` and background shells ignore, and would obey that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_compilation_cache", False)  # but of runs, see below


def pytest_addoption(parser):
    parser.addoption(
        "--done",
        metavar="FILE",
        help="Leave out the tests that FILE lists, and add those that pass.",
    )


def pytest_configure(config):
    """Runs in processes of their own find programs that others compiled, as a user's do.

    In a folder of this session, so that none comes from other code or goes to the user's home.
    """
    if hasattr(config, "workerinput"):  # xdist's, which inherits what is set here
        return
    folder = tempfile.TemporaryDirectory(prefix="jaxcnn-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["XDG_CACHE_HOME"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if config.option.done:
        config.pluginmanager.register(Done(Path(config.option.done)))


def pytest_collection_modifyitems(config, items):
    file = config.option.done and Path(config.option.done)
    if file and file.exists():
        done = set(file.read_text().splitlines())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
        items[:] = [item for item in items if item.nodeid not in done]


class Done:
    """Notes what passes, so that hours of tests can be stopped and started again."""

    def __init__(self, file):
        self.file = file

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            with self.file.open("a") as file:
                print(report.nodeid, file=file)


@pytest.fixture(scope="session")
def photo_run(tmp_path_factory):
    """A small network, trained on image files; see `tests.photos`."""
    from tests import photos

    return photos.make_run(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def forgotten():
    """Frees compiled programs after a test: each takes some of a process's 65,530 memory maps."""
    yield
    jax.clear_caches()
