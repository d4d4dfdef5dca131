"""Everything a training run is, as one tree."""

import functools
import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.training.optim import Optimizer

T = TypeVar("T")


class TrainState(flax.struct.PyTreeNode):
    """Attributes are trees of arrays.

    Attributes:
      step: int32 scalar; steps taken.
      params: parameters.
      batch_stats: running statistics of BatchNorm, {} without it.
      opt_state: see `optim.Optimizer`.
      ema: {"params", "batch_stats"} averaged over steps, or None.
      rng: data of the root key (`jax.random.wrap_key_data` makes the key of it); it never changes,
        every use folds in a constant and the step. As data: NumPy, which saves it, has no keys.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    rng: jax.Array

    def variables(self, averaged: bool = False) -> dict[str, Any]:
        """What `model.apply` takes: the raw weights and statistics, or their moving averages."""
        if averaged:
            return dict(self.ema)
        return {"params": self.params, "batch_stats": self.batch_stats}


# Making each of so many parameters by itself takes less time than compiling one program of them
# all, which for ResNet-1202 takes minutes.
MANY_LEAVES = 2000


class Initial(NamedTuple):
    """The state at step 0, not yet made.

    Attributes:
      initializer: typed root key → state; one parameter after another.
      program: the same to be compiled as a whole, a jitted function.
      state_shape: its shapes and dtypes, which are those of all its checkpoints.
    """

    initializer: Callable[[jax.Array], TrainState]
    program: Any
    state_shape: TrainState


def initial_state(
    model: nn.Module,
    optimizer: Optimizer,
    image_shape: tuple[int, int, int],
    averaged: bool = False,
) -> Initial:
    """Returns what makes the state at step 0.

    Args:
      model: the network.
      optimizer: see `build.make_optimizer`.
      image_shape: (H, W, C) of the images that the network gets.
      averaged: keep moving averages too.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)

    def initializer(rng: jax.Array, *, whole: bool = False) -> TrainState:
        variables: Any = (
            model.init(rng, jnp.zeros(images.shape)) if whole else model.lazy_init(rng, images)
        )
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=optimizer.init(params),
            # Buffers of their own: the step donates them all.
            ema=jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats})
            if averaged
            else None,
            rng=jax.random.key_data(rng),
        )

    program = jax.jit(functools.partial(initializer, whole=True))
    return Initial(initializer, program, program.eval_shape(jax.random.key(0)))


def check_memory(state_shape: TrainState) -> None:
    """Refuses a state that is larger than the memory of a CPU, before it is allocated.

    Raises:
      UserError: with both sizes.
    """
    if jax.default_backend() != "cpu":
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


def with_weights(state: TrainState, weights: dict[str, Any]) -> TrainState:
    """Returns the state at step 0 with other weights to start from.

    Args:
      state: whose optimizer is at step 0, which is the same for any weights.
      weights: as `TrainState.variables`: the arrays among its leaves are taken, for the
        averages too.
    """
    variables = jax.tree.map(
        lambda new, fresh: new if isinstance(new, np.ndarray) else fresh, weights, state.variables()
    )
    averages = None if state.ema is None else jax.tree.map(np.array, variables)  # own buffers
    return state.replace(**variables, ema=averages)


def _many(initial: Initial) -> bool:
    return len(jax.tree.leaves(initial.state_shape.params)) > MANY_LEAVES


@functools.lru_cache(maxsize=1)  # for runs that differ in the seed alone
def _compiling(program: Any) -> Future[jax.stages.Compiled]:
    """Compiles what makes a state.

    It runs once, so the CPU's compiler is told not to optimise it: it would spend its time on one
    random generator for each shape (DenseNet-121: 20 s instead of 6 s).
    """
    options: Any = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    lowered = program.lower(jax.random.key(0))  # here, where the settings of jax are the caller's
    return _in_a_thread(lambda: lowered.compile(compiler_options=options))


def _in_a_thread(call: Callable[[], T]) -> Future[T]:
    thread = ThreadPoolExecutor(1)
    result = thread.submit(call)
    thread.shutdown(wait=False)
    return result


def count_parameters(tree: Any) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def leaf_digests(tree: Any) -> dict[str, str]:
    """SHA-256 of each leaf's bytes with its dtype and shape, by path; leaves are NumPy arrays."""
    digests = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest = hashlib.sha256(f"{array.dtype.str}{np.shape(leaf)}".encode())
        digest.update(array.view(np.uint8).data if array.ndim else array.tobytes())
        digests[jax.tree_util.keystr(path, simple=True, separator="/")] = digest.hexdigest()
    return digests


def state_sha256(variables: Any) -> str:
    """One SHA-256 over parameters and BatchNorm statistics: equal if and only if all bits are."""
    return sha256_of_digests(leaf_digests(jax.device_get(variables)))


def sha256_of_digests(digests: dict[str, str]) -> str:
    """One SHA-256 over those of `leaf_digests`."""
    text = "".join(f"{path}={value}\n" for path, value in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()
