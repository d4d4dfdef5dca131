"""A program asks the C library for huge pages, once, and stays the process that it was."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from jaxcnn import process
print("begins")
sys.stdout.flush()
process.restart_with_huge_pages()
print(os.getpid(), *sys.argv[1:], os.environ.get("GLIBC_TUNABLES"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
@pytest.mark.parametrize(
    ("given", "expected", "starts"),
    [
        (None, "glibc.malloc.hugetlb=1", 2),
        ("glibc.malloc.perturb=0", "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1", 2),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0", 1),
    ],
)
def test_a_program_starts_again_with_huge_pages(tmp_path, given, expected, starts):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    if given is not None:
        environment["GLIBC_TUNABLES"] = given
    child = subprocess.Popen(
        [sys.executable, "-I", str(script), "--flag=a b", "c"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert output.splitlines() == ["begins"] * starts + [f"{child.pid} --flag=a b c {expected}"]
