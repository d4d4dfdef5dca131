"""A program asks for huge pages and for XLA's silence, once, and stays the process that it was."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from jaxcnn.run import cli
print("begins")
sys.stdout.flush()
cli.restart_with_settings()
settings = (os.environ.get(name) for name in ("GLIBC_TUNABLES", "TF_CPP_MIN_LOG_LEVEL"))
print(os.getpid(), *sys.argv[1:], *settings)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
@pytest.mark.parametrize(
    ("tunables", "level", "expected", "starts"),
    [
        (None, None, "glibc.malloc.hugetlb=1 3", 2),
        ("glibc.malloc.perturb=0", "1", "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1 3", 2),
        ("glibc.malloc.hugetlb=0", None, "glibc.malloc.hugetlb=0 3", 2),
        ("glibc.malloc.hugetlb=1", "3", "glibc.malloc.hugetlb=1 3", 1),
        ("glibc.malloc.hugetlb=0", "0", "glibc.malloc.hugetlb=0 0", 1),
    ],
)
def test_a_program_starts_again_with_its_settings(tmp_path, tunables, level, expected, starts):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    given = {"GLIBC_TUNABLES": tunables, "TF_CPP_MIN_LOG_LEVEL": level}
    environment = {name: value for name, value in os.environ.items() if name not in given}
    environment |= {name: value for name, value in given.items() if value is not None}
    child = subprocess.Popen(
        [sys.executable, "-I", str(script), "--flag=a b", "c"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert output.splitlines() == ["begins"] * starts + [f"{child.pid} --flag=a b c {expected}"]
