import subprocess

import pytest

from tests.pretrained.server import serving
from tests.pretrained.small import cache, small, table  # noqa: F401, fixtures

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system with options such as "size=8k" or "ro"; returns its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mounted(options):
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("cannot mount a file system here")
        return disk

    yield mounted
    if disk.is_mount():
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def server(monkeypatch):
    """A server on this machine, which HF_ENDPOINT names; no proxy."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "JAXCNN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running
