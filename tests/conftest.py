"""Every test sees four CPU devices, no implicit rank promotion, and no network."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def photo_run(tmp_path_factory):
    """A small network, trained on image files; see `tests.photos`."""
    from tests import photos

    return photos.make_run(tmp_path_factory.mktemp("photos"))
