"""Small networks that are quick to compile, for the tests of attribution."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxcnn.ops.lrn import local_response_norm
from jaxcnn.ops.pool import max_pool


class Small(nn.Module):
    """conv 3x3, ReLU, max-pool, LRN, conv 3x3, ReLU, max-pool, dense.

    Attributes:
      window: of the pools, at stride 2.
    """

    num_classes: int = 4
    features: Sequence[int] = (5, 6)
    window: int = 2
    lrn: bool = False
    use_bias: bool = True
    act: Callable[[jax.Array], jax.Array] = nn.relu
    param_dtype: Any = np.float64

    @nn.compact
    def __call__(self, x, train=False):
        for number, features in enumerate(self.features):
            conv = nn.Conv(
                features,
                (3, 3),
                use_bias=self.use_bias,
                param_dtype=self.param_dtype,
                name=f"conv{number + 1}",
            )
            x = max_pool(self.act(conv(x)), (self.window,) * 2, (2, 2))
            x = local_response_norm(x, size=3, alpha=0.1) if self.lrn else x
        dense = nn.Dense(
            self.num_classes, self.use_bias, param_dtype=self.param_dtype, name="dense"
        )
        return dense(x.reshape(x.shape[0], -1))


def drawn(model, images, seed=0):
    """Variables of normal numbers, biases too, without compiling an init."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(leaf.dtype), shapes)


def pictures(count=2, size=10, channels=2, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(count, size, size, channels)).astype(dtype)
