"""How many steps of a run are one call of a program, chosen by a measurement; their batches."""

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.config.programs import Programs
from jaxcnn.run import distributed
from jaxcnn.training.schedules import Plan
from jaxcnn.training.state import TrainState

SHORT = 0.02  # seconds of a step beside which its call takes time that is worth saving
FIRST = 10 * SHORT  # of the first step, which may take longer
CALL = 0.05  # seconds of a call of several steps: a signal waits no longer than that
MOST = 32  # steps
ROOM = 2**26  # bytes of the state, which is copied, and of the batches of a call
WORTH = 3  # a run shorter than so many starts would gain less than the measurement costs
TURN, TURNS = 0.1, 3  # seconds, number
GAIN = 0.97  # of the time of steps one by one, at most


def choose(
    programs: Programs, state: TrainState, batch: dict[str, Any], left: int, started: float
) -> int:
    """Returns the number of steps of a call: 1, or one with which a step takes less time.

    Several steps give the same numbers as one by one. LeNet-5 on MNIST (64 images, two cores of an
    AMD EPYC, jax 0.12.0.1): 30,000 to 35,000 instead of 25,000 to 29,000 images/s.

    Args:
      programs: of the run; `train_steps` is compiled if it may be of use.
      state: replicated; it is copied.
      batch: one batch of this process, not yet on its devices.
      left: number of steps to take.
      started: seconds that the run took to begin, with one compilation.
    """
    alone = distributed.process_count() == 1  # several would have to agree
    if left < 2 or not alone or _size(state) > ROOM:
        return 1

    def one_by_one(calls: int) -> float:
        return _seconds(programs.train_step, state, [batch], calls)

    if one_by_one(1) > FIRST:
        return 1
    seconds = one_by_one(3)
    most = min(MOST, math.ceil(CALL / seconds), left, ROOM // max(_size(batch), 1))
    if seconds > SHORT or seconds * left < WORTH * started or most < 2:
        return 1

    def together(calls: int) -> float:
        return _seconds(programs.train_steps, state, [batch] * most, calls) / most

    together(1)  # compiles
    calls = max(round(TURN / seconds / most), 1)
    turns = [(one_by_one(calls * most), together(calls)) for _ in range(TURNS)]
    single, joined = map(min, zip(*turns, strict=True))
    return most if joined < GAIN * single else 1


def _size(arrays: Any) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(arrays))


def _seconds(step: distributed.Program, state: TrainState, batches: list[Any], calls: int) -> float:
    """Returns the seconds of a call, with the transfer of its batches."""
    state = jax.tree.map(jnp.copy, state)  # the step donates its buffers
    jax.block_until_ready(state)
    begun = time.perf_counter()
    for _ in range(calls):
        state, metrics = step(state, shard(batches, len(batches)))
    jax.block_until_ready(metrics)
    return (time.perf_counter() - begun) / calls


def by_call(
    batches: Iterator[Any], plan: Plan, start: int, most: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields the batches of each call of at most `most` steps, prefetched to the devices."""
    calls = ([next(batches) for _ in steps] for steps in plan.calls(start, most))
    return distributed.prefetch(calls, shard=partial(shard, most=most))


def shard(batches: list[Any], most: int) -> dict[str, jax.Array]:
    """Places the batches of a call of at most `most` steps on the devices."""
    return distributed.shard_steps(batches, most) if most > 1 else distributed.shard(batches[0])
