"""Every test sees four CPU devices, no implicit rank promotion, and no network."""

import os
import signal
import tempfile
from pathlib import Path

# Most of a test's time is compilation of what runs once, and of that most is LLVM's optimisation,
# which is left out. Compiled as a user's are whole runs in processes of their own (`tests.runs`),
# what is compared with other libraries (`tests/parity`), and with XLA_FLAGS=
# --xla_backend_optimization_level=3 all tests.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 "
    + os.environ.get("XLA_FLAGS", "")  # the last one counts
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


def pytest_addoption(parser):
    parser.addoption(
        "--done",
        metavar="FILE",
        help="Leave out the tests that FILE lists, and add those that pass.",
    )


def pytest_configure(config):
    """Tests, and runs in processes of their own, find programs that others compiled.

    Without it operations on small arrays, each a program of its own, take a third of the time. The
    folder is of this session, so that nothing goes to the user's home, unless the variable names
    one, for several sessions.
    """
    if hasattr(config, "workerinput"):  # xdist's, which inherits what is set here
        return
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="jaxcnn-tests-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
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
