"""Times contenders on a noisy machine: rounds of A, B, A, B, …, and ratios within a round."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax


class Contender(NamedTuple):
    """One of several implementations of the same work.

    Attributes:
      name: name of the library, and its form.
      run: runs a number of steps and waits until they are finished.
      compile_s: seconds from the network to its first step, which is not timed; for the input, to
        its first batch.
      memory: bytes at the peak of a step, or None if unknown.
      bytes_accessed: bytes that a step reads and writes, or None.
    """

    name: str
    run: Callable[[int], Any]
    compile_s: float
    memory: int | None = None
    bytes_accessed: float | None = None


class Ratio(NamedTuple):
    """Ratios of one contender's times to another's in the same rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def seconds_per_step(contender: Contender, steps: int) -> float:
    """Runs `steps` steps; returns the seconds per step."""
    start = time.perf_counter()
    contender.run(steps)
    return (time.perf_counter() - start) / steps


def interleave(
    contenders: Sequence[Contender], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Returns the seconds per step of every contender in every round.

    A turn begins with an untimed step: after another library's turn, the first step of VGG-11 took
    half as long again as the next.

    Args:
      contenders: contenders after their first step.
      rounds: number of rounds.
      seconds: approximate length of a turn.
    """
    steps = {}
    for contender in contenders:
        steps[contender.name] = max(1, round(seconds / seconds_per_step(contender, 1)))
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            contender.run(1)
            found = seconds_per_step(contender, steps[contender.name])
            times[contender.name].append(found)
    return times


def ratio(times: Sequence[float], others: Sequence[float]) -> Ratio:
    """Returns the ratios of the first times to the others, round by round."""
    found = [ours / theirs for ours, theirs in zip(times, others, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def peak_memory(program: jax.stages.Compiled) -> int | None:
    """Returns the peak bytes of a compiled program: arguments, results and temporaries."""
    sizes = program.memory_analysis()
    if sizes is None:
        return None
    own = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return own - sizes.alias_size_in_bytes
