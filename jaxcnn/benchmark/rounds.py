"""Timing that a noisy machine cannot turn: rounds of A, B, A, B, …, and ratios within a round."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax


class Contender(NamedTuple):
    """One way of doing the same work.

    Attributes:
      name: of the library, and how it was used.
      run: does so many steps, and returns when they are done.
      compile_s: seconds from the network to its first step, which is not timed; of the input to its
        first batch.
      memory: bytes at the peak of a step, or None where nothing reports it.
      bytes_accessed: that a step reads and writes, or None.
    """

    name: str
    run: Callable[[int], Any]
    compile_s: float
    memory: int | None = None
    bytes_accessed: float | None = None


class Ratio(NamedTuple):
    """Times of one contender over those of another in the same rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def seconds_per_step(contender: Contender, steps: int) -> float:
    """Runs so many steps and returns the seconds that each took."""
    start = time.perf_counter()
    contender.run(steps)
    return (time.perf_counter() - start) / steps


def interleave(
    contenders: Sequence[Contender], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Returns the seconds per step of every contender in every round.

    A turn begins with a step that is not timed: after the turn of another library it took VGG-11
    half as long again as the next.

    Args:
      contenders: each has had its first step.
      rounds: how many.
      seconds: about how long each contender's turn is.
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
    """Returns how many times as long the first took, round by round."""
    found = [ours / theirs for ours, theirs in zip(times, others, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def peak_memory(program: jax.stages.Compiled) -> int | None:
    """Returns the bytes that a compiled program has at once: arguments, results and the rest."""
    sizes = program.memory_analysis()
    if sizes is None:
        return None
    own = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return own - sizes.alias_size_in_bytes
