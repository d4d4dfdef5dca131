"""Modules of several branches, as the Inception papers tabulate them.

A table is a `Fork`: branches on one input, each a sequence of `Layer`s, pooling functions and
further forks. Where a figure says "1x1 and 3x3 beside an average pool and 1x1",

    fork([Layer(64), Layer(96, 3)], [AVERAGE, Layer(32)])

is its table, and `Branches(table, conv, norm, act)` the module.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Union

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.layers.conv import Activation, Constructor, ConvNormAct
from jaxcnn.ops.pool import avg_pool, max_pool

Pool = Callable[[jax.Array], jax.Array]
Step = Union["Layer", "Fork", Pool]


class Layer(NamedTuple):
    """Convolution, BN, activation.

    Attributes:
      kernel_size: of a square, or (height, width).
      padding: pixels on every side, or "SAME" as TensorFlow has it; None is as many pixels as keep
        the size, but for the strides.
    """

    features: int
    kernel_size: int | tuple[int, int] = 1
    strides: int = 1
    padding: int | str | None = None


class Fork(NamedTuple):
    """Branches on the same input, in the order in which their channels are joined."""

    branches: tuple[tuple[Step, ...], ...]


def fork(*branches: Sequence[Step]) -> Fork:
    """Returns the table of these branches; a branch of one step is a sequence, too."""
    return Fork(tuple(tuple(branch) for branch in branches))


# The two pools of most modules. Only pixels of the map count in the average, as in TensorFlow.
AVERAGE = partial(avg_pool, window=(3, 3), strides=(1, 1), padding=1, count_include_pad=False)
MAX = partial(max_pool, window=(3, 3), strides=(2, 2))


class Chain(nn.Module):
    """Steps one after another: `conv1`, `conv2`, `fork3`, …, pools without a name or number."""

    steps: Sequence[Step]
    conv: Constructor
    norm: Constructor | None
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to what the last step puts out."""
        handed_down: dict[str, Any] = {"conv": self.conv, "norm": self.norm, "act": self.act}
        number = 0
        for step in self.steps:
            if not isinstance(step, Layer | Fork):
                x = step(x)
                continue
            number += 1
            if isinstance(step, Fork):
                x = Branches(step, **handed_down, name=f"fork{number}")(x)
                continue
            size = step.kernel_size
            x = ConvNormAct(
                step.features,
                (size, size) if isinstance(size, int) else size,
                strides=step.strides,
                padding=step.padding,
                **handed_down,
                name=f"conv{number}",
            )(x)
        return x


class Branches(nn.Module):
    """`branch1`, `branch2`, … of a table, on the same input; their channels joined in order."""

    table: Fork
    conv: Constructor
    norm: Constructor | None
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H', W', C'); every branch must come to the same H' and W'."""
        return self.join(x)

    def join(self, x: jax.Array) -> jax.Array:
        """Returns the branches' channels; for `__call__` of a subclass that goes on from there."""
        outputs = [
            Chain(branch, self.conv, self.norm, self.act, name=f"branch{i + 1}")(x)
            for i, branch in enumerate(self.table.branches)
        ]
        return jnp.concatenate(outputs, axis=-1)
