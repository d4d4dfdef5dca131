"""The training state: one tree of arrays."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxcnn.training.optim import Optimizer

T = TypeVar("T")


class TrainState(flax.struct.PyTreeNode):
    """State of a training run; attributes are trees of arrays.

    Attributes:
      step: int32 scalar, number of steps taken.
      params: parameters.
      batch_stats: running statistics of BatchNorm, {} without BatchNorm.
      opt_state: see `optim.Optimizer`.
      ema: {"params", "batch_stats"} averaged over steps, or None.
      rng: data of the root key (`jax.random.wrap_key_data` returns the key), because NumPy has no
        key type. It never changes; every use folds in a constant and the step.
    """

    step: jax.Array
    params: chex.ArrayTree
    batch_stats: chex.ArrayTree
    opt_state: optax.OptState
    ema: Any
    rng: jax.Array

    def variables(self, averaged: bool = False) -> dict[str, Any]:
        """Returns the variables for `model.apply`: the raw ones or their moving averages."""
        if averaged:
            return dict(self.ema)
        return {"params": self.params, "batch_stats": self.batch_stats}


class Initial(NamedTuple):
    """Functions that create the state at step 0.

    Attributes:
      initializer: typed root key → state; creates one parameter after another.
      program: jitted function with the same result, to be compiled as a whole.
      state_shape: shapes and dtypes of the state and of all its checkpoints.
    """

    initializer: Callable[[jax.Array], TrainState]
    program: Any
    state_shape: TrainState


def initial_state(
    model: nn.Module,
    optimizer: Optimizer,
    image_shape: tuple[int, int, int],
    averaged: bool = False,
    traced: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function,
) -> Initial:
    """Returns the functions that create the state at step 0.

    Args:
      model: the network.
      optimizer: see `build.make_optimizer`.
      image_shape: (H, W, C) of the network's images.
      averaged: whether to keep moving averages too.
      traced: see `program_cache.ProgramCache.traced`.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)

    def initial_variables(key_data: jax.Array) -> Any:
        return model.init(jax.random.wrap_key_data(key_data), jnp.zeros(images.shape))

    def initializer(rng: jax.Array, *, whole: bool = False) -> TrainState:
        variables: Any = (
            traced(initial_variables)(jax.random.key_data(rng))
            if whole
            else model.lazy_init(rng, images)
        )
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=optimizer.init(params),
            # Separate buffers: the step donates all of them.
            ema=jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats})
            if averaged
            else None,
            rng=jax.random.key_data(rng),
        )

    program = jax.jit(functools.partial(initializer, whole=True))
    return Initial(initializer, program, program.eval_shape(jax.random.key(0)))


def with_weights(state: TrainState, weights: dict[str, Any]) -> TrainState:
    """Returns the state at step 0 with initial weights replaced.

    Args:
      state: fresh state; the fresh optimizer state is the same for any weights.
      weights: tree as in `TrainState.variables`. Leaves that are arrays replace weights and
        averages.
    """
    variables = jax.tree.map(
        lambda new, fresh: new if isinstance(new, np.ndarray) else fresh, weights, state.variables()
    )
    averages = None if state.ema is None else jax.tree.map(np.array, variables)  # separate buffers
    return state.replace(**variables, ema=averages)


def count_parameters(tree: chex.ArrayTree) -> int:
    """Returns the number of scalars in a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def leaf_digests(tree: chex.ArrayTree) -> dict[str, str]:
    """Returns the SHA-256 of each NumPy leaf's bytes, dtype and shape, by path."""
    digests = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest = hashlib.sha256(f"{array.dtype.str}{np.shape(leaf)}".encode())
        digest.update(array.view(np.uint8).data if array.ndim else array.tobytes())
        digests[jax.tree_util.keystr(path, simple=True, separator="/")] = digest.hexdigest()
    return digests


def state_sha256(variables: chex.ArrayTree) -> str:
    """Returns one SHA-256 of parameters and BatchNorm statistics; it differs if any bit differs."""
    return sha256_of_digests(leaf_digests(jax.device_get(variables)))


def sha256_of_digests(digests: dict[str, str]) -> str:
    """Returns one SHA-256 of the digests of `leaf_digests`."""
    text = "".join(f"{path}={value}\n" for path, value in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()
