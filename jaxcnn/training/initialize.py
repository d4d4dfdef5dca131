"""Creates the state at step 0 while the training step compiles."""

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax

from jaxcnn.errors import UserError
from jaxcnn.run import distributed
from jaxcnn.training.state import Initial, TrainState

T = TypeVar("T")
# Above this number of parameters, creating them one by one is faster than compiling one program
# for all: that compilation takes minutes for ResNet-1202.
MANY_LEAVES = 2000


def check_memory(state_shape: TrainState) -> None:
    """Refuses a state that is larger than the memory of the CPU, before it is allocated.

    Raises:
      UserError: the state is too large; the message names both sizes.
    """
    if distributed.platform() != "cpu":
        return  # other devices raise an error themselves
    wanted = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_shape)
    )
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise UserError(
            f"the parameters and the optimizer's averages are {wanted / 2**30:,.0f} GiB, and this"
            f" machine has {there / 2**30:,.0f}: take a smaller network, or lower model.overrides"
        )


def prepare_state(initial: Initial, rng: jax.Array) -> Callable[[], TrainState]:
    """Starts creating the state in another thread; returns a function that waits for the state.

    If the process ends before that, it still waits for the thread.

    Args:
      initial: describes the state.
      rng: root key of the run.
    """
    if _many(initial):
        return functools.partial(initial.initializer, rng)  # created when the function is called
    compiled = _compiling(initial.program)
    return _in_a_thread(lambda: compiled.result()(rng)).result


def _many(initial: Initial) -> bool:
    return len(jax.tree.leaves(initial.state_shape.params)) > MANY_LEAVES


@functools.lru_cache(maxsize=1)  # shared by runs that differ only in the seed
def _compiling(program: Any) -> Future[jax.stages.Compiled]:
    """Compiles the program that creates the state, in another thread.

    The program runs once, so optimisation is off on a CPU: XLA would optimise one random generator
    for each shape (DenseNet-121: 20 s instead of 6 s).
    """
    options: Any = {"xla_backend_optimization_level": 0} if distributed.platform() == "cpu" else {}
    lowered = program.lower(jax.random.key(0))  # in this thread, with the caller's settings
    return _in_a_thread(lambda: lowered.compile(compiler_options=options))


def _in_a_thread(call: Callable[[], T]) -> Future[T]:
    thread = ThreadPoolExecutor(1)
    result = thread.submit(call)
    thread.shutdown(wait=False)
    return result
