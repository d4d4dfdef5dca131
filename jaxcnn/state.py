"""Everything a training run is, as one tree."""

import hashlib
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.optim import Optimizer


@flax.struct.dataclass
class TrainState:
    """Attributes are trees of arrays.

    Attributes:
      step: int32 scalar; steps taken.
      params: parameters.
      batch_stats: running statistics of BatchNorm, {} without it.
      opt_state: see `optim.Optimizer`.
      ema: {"params", "batch_stats"} averaged over steps, or None.
      rng: the root key; it never changes, every use folds in a constant and the step.
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


def init_variables(
    model: nn.Module, key: jax.Array, image_shape: tuple[int, int, int]
) -> dict[str, Any]:
    """`model.init` for images of a shape (H, W, C), without optimising a program that runs once.

    On the CPU nearly all the time of a jitted `init` goes into optimising one random generator per
    shape (DenseNet-121: 20 s, against 6 s without).
    """
    images = jnp.zeros((1, *image_shape))
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return jax.jit(model.init).lower(key, images).compile(compiler_options=options)(key, images)


def create_state(
    variables: dict[str, Any], optimizer: Optimizer, rng: jax.Array, averaged: bool = False
) -> TrainState:
    """Returns the state at step 0.

    Args:
      variables: of the network, from `init_variables`.
      optimizer: see `factories.make_optimizer`.
      rng: a typed key, `jax.random.key(seed)`.
      averaged: keep moving averages too.
    """
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    # A copy: donating the state to a step must not hand over one buffer twice.
    ema = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        ema=ema if averaged else None,
        rng=rng,
    )


def saved_form(
    model: nn.Module, optimizer: Optimizer, image_shape: tuple[int, int, int], averaged: bool
) -> TrainState:
    """Shapes and dtypes of a state in a checkpoint, nothing allocated; the key is raw data."""

    def make(rng: jax.Array) -> TrainState:
        variables = model.init(rng, jnp.zeros((1, *image_shape)))
        state = create_state(variables, optimizer, rng, averaged)
        return state.replace(rng=jax.random.key_data(rng))

    return jax.eval_shape(make, jax.random.key(0))


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
    digests = sorted(leaf_digests(jax.device_get(variables)).items())
    return hashlib.sha256(
        "".join(f"{path}={value}\n" for path, value in digests).encode()
    ).hexdigest()
