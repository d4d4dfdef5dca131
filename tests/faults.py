"""Commands in processes of their own, to which something happens: a signal, a kill, a full disk.

run = faults.start("jaxcnn.main", *flags, folder=tmp_path)
run.wait_for("step 3/")          # text of its output, or a function that returns True
run.send(signal.SIGTERM)
assert run.end() == 143          # within 10 s, without a traceback or a process left behind
"""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.runs import ROOT, environment

OBEYED = 10.0  # seconds from a signal to the end of the process
NEVER = ("Traceback", "Exception ignored", "leaked shared_memory", "Error in atexit")


@dataclasses.dataclass
class Command:
    """A command that runs.

    Attributes:
      process: its process, the first of a session of its own.
      output: the file that its standard output and standard error are written to.
      sent: when the last signal was sent.
    """

    process: subprocess.Popen
    output: Path
    sent: float = 0.0

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, moment: str | float | Callable[[], bool], seconds: float = 120) -> None:
        """Returns when it has printed a text, when seconds have passed, or when a call is true."""
        if isinstance(moment, float):
            time.sleep(moment)
            return
        deadline = time.monotonic() + seconds
        while not (moment in self.said if isinstance(moment, str) else moment()):
            assert self.process.poll() is None, f"it ended before {moment}\n{self.said}"
            assert time.monotonic() < deadline, f"no {moment} in {seconds} s\n{self.said}"
            time.sleep(0.01)

    def catches(self) -> bool:
        """Tells whether it has its handlers of signals, which it has before it loads jax."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

    def send(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to it, or to all processes that it has started, too."""
        self.sent = time.monotonic()
        os.killpg(self.process.pid, number) if group else self.process.send_signal(number)

    def end(self, seconds: float = OBEYED) -> int:
        """Waits for it, counted from the last signal; returns its exit code.

        A process that does not end, or leaves others behind, is killed, and the test fails. So does
        one that prints what a user should never see.
        """
        started = self.sent or time.monotonic()
        try:
            self.process.wait(max(started + seconds - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            kill(self.process)
            raise AssertionError(f"not ended in {seconds} s\n{self.said}") from None
        left = wait_until_gone(self.process.pid)
        kill(self.process)
        assert not left, f"processes are left: {left}"
        for text in NEVER:
            assert text not in self.said, self.said
        return (
            -self.process.returncode + 128
            if self.process.returncode < 0
            else (self.process.returncode)
        )


def start(
    module: str,
    *flags: str,
    folder: Path,
    devices: int = 1,
    prefix: tuple[str, ...] = (),
    **changes: str | None,
) -> Command:
    """Starts `python -m module flags`, in the root of the repository.

    Args:
      module: its name, or a file.
      flags: its command line.
      folder: for its output.
      devices: that it has.
      prefix: a command that starts it, such as ("timeout", "5").
      changes: variables of its environment; None takes one away.
    """
    output = folder / f"output-{time.monotonic_ns()}.txt"
    program = [str(ROOT / module)] if module.endswith(".py") else ["-m", module]
    given = {"PYTHONPATH": str(ROOT), **environment(devices), **changes}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*prefix, sys.executable, *program, *flags],
            cwd=ROOT,
            env={name: value for name, value in given.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Of a test that is run in the background they would be ignored.
            preexec_fn=_default_signals,
        )
    return Command(process, output)


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def wait_until_gone(session: int, seconds: float = 5.0) -> dict[int, str]:
    """Returns the processes of a session that are there after some seconds."""
    deadline = time.monotonic() + seconds
    while (left := of_session(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def of_session(session: int) -> dict[int, str]:
    """Returns {process id: command line} of the processes of a session that are alive."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, *fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == session and state != "Z":
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = line.decode(errors="replace")
        except (OSError, ValueError, IndexError):
            continue
    return found


def kill(process: subprocess.Popen) -> None:
    """Ends a process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
