"""Versions, processor, memory and command: properties that affect a run's numbers and speed."""

import contextlib
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def installed() -> dict[str, str]:
    """Returns the versions of the packages that affect a run's numbers."""
    names = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"python": platform.python_version(), **found}


def git_revision() -> str:
    """Returns the source's git revision, with "+" if files differ; "" outside a checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(  # noqa: S603
            ["git", "-C", str(here), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return ""


def command() -> str:
    """Returns the command line of this process, quoted for a shell."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def processor() -> str:
    """Returns the name of the processor, "AMD EPYC 9B14" for example."""
    return _line_of("/proc/cpuinfo", r"model name\s*: (.+)") or (
        platform.processor() or platform.machine()
    )


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Returns the memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
    """Returns the largest memory use of this process so far in bytes."""
    if kilobytes := _line_of("/proc/self/status", r"VmHWM:\s*(\d+) kB"):
        return int(kilobytes) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _line_of(file: str, pattern: str) -> str:
    """Returns the pattern's group in the first line of a file that matches; "" if none does."""
    with contextlib.suppress(OSError), open(file, encoding="utf-8") as lines:
        for line in lines:
            if found := re.match(pattern, line):
                return found[1].strip()
    return ""
