"""How far an ablation is: which runs are done, of how many, and how long the others may take."""

import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.runs import described, finished
from jaxcnn.ablation.task import Result, Task
from jaxcnn.run.cli import SECONDS_BETWEEN_LINES
from jaxcnn.run.metric_writer import MetricWriter, duration

TAIL = 400  # bytes of a run's output that are searched for its last step


class Progress:
    """Progress lines about runs in other processes, read from their workdirs.

    Args:
      ablation: the compared variants.
      every: all its runs.
      out: where they live.

    Raises:
      UserError: if a result is damaged, or of another config.
    """

    def __init__(self, ablation: Ablation, every: Sequence[Task], out: Path):
        self._ablation, self._out = ablation, out
        self._total = len(every)
        self.left = [task for task in every if self._result(task) is None]
        self._log = MetricWriter(out)
        self._begun = self._said = time.monotonic()
        self._done_here = 0
        self._since: dict[Task, float] = {}

    @property
    def done(self) -> str:
        """Returns "3 of 18"."""
        return f"{self._total - len(self.left)} of {self._total}"

    def update(self, running: Collection[str]) -> None:
        """Prints the runs that finished since the last call, and those in progress.

        On a terminal the latter is a line that moves; elsewhere a line comes every half minute.

        Args:
          running: variants whose runs are in work.
        """
        now = time.monotonic()
        for task in list(self.left):
            if (result := self._result(task)) is not None:
                self.left.remove(task)
                self._done_here += 1
                text = described(result, self._ablation.metric)
                self._log.say(f"{self.done}: {text}{self._time_left(now)}")
                self._said = now
        if sys.stdout.isatty() or now - self._said > SECONDS_BETWEEN_LINES:
            first = {task.variant: task for task in reversed(self.left) if task.variant in running}
            if first:
                self._log.progress(self._line(list(first.values())[::-1], now))
                self._said = now

    def _line(self, tasks: Sequence[Task], now: float) -> str:
        parts = []
        for task in tasks:
            seconds = now - self._since.setdefault(task, now)
            step = _last_step(task.directory(self._out) / "run.txt")
            parts.append(f"{task}, {step}{duration(seconds)}")
        number = self._total - len(self.left) + 1
        numbers = f"{number}-{number + len(tasks) - 1}" if len(tasks) > 1 else str(number)
        return f"{numbers} of {self._total}: {'; '.join(parts)}{self._time_left(now)}"

    def _time_left(self, now: float) -> str:
        """Returns ", about 2:30 left", by the mean of the runs so far; "" if there are none."""
        if not self._done_here or not self.left:
            return ""
        seconds = (now - self._begun) / self._done_here * len(self.left)
        return f", about {duration(seconds)} left"

    def _result(self, task: Task) -> Result | None:
        return finished(self._ablation, task, self._out)


def _last_step(file: Path) -> str:
    """Returns "step 39/130, " of a run's output, or ""."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(file.stat().st_size - TAIL, 0))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    steps = [line.split("  ")[0] for line in lines if line.startswith("step ")]
    return f"{steps[-1]}, " if steps and "/" in steps[-1] else ""
