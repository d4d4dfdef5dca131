"""The state at step 0: made beside the compilation of the training step."""

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
# Making each of so many parameters by itself takes less time than compiling one program of them
# all, which for ResNet-1202 takes minutes.
MANY_LEAVES = 2000


def check_memory(state_shape: TrainState) -> None:
    """Refuses a state that is larger than the memory of a CPU, before it is allocated.

    Raises:
      UserError: with both sizes.
    """
    if distributed.platform() != "cpu":
        return  # a device says so itself
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
    """Begins to make the state in another thread; what it returns waits for it and returns it.

    A process that ends before that still waits for the thread.

    Args:
      initial: the state to be made.
      rng: the root key of the run.
    """
    if _many(initial):
        return functools.partial(initial.initializer, rng)  # once it is asked for
    compiled = _compiling(initial.program)
    return _in_a_thread(lambda: compiled.result()(rng)).result


def _many(initial: Initial) -> bool:
    return len(jax.tree.leaves(initial.state_shape.params)) > MANY_LEAVES


@functools.lru_cache(maxsize=1)  # for runs that differ in the seed alone
def _compiling(program: Any) -> Future[jax.stages.Compiled]:
    """Compiles what makes a state.

    It runs once, so the CPU's compiler is told not to optimise it: it would spend its time on one
    random generator for each shape (DenseNet-121: 20 s instead of 6 s).
    """
    options: Any = {"xla_backend_optimization_level": 0} if distributed.platform() == "cpu" else {}
    lowered = program.lower(jax.random.key(0))  # here, where the settings of jax are the caller's
    return _in_a_thread(lambda: lowered.compile(compiler_options=options))


def _in_a_thread(call: Callable[[], T]) -> Future[T]:
    thread = ThreadPoolExecutor(1)
    result = thread.submit(call)
    thread.shutdown(wait=False)
    return result
