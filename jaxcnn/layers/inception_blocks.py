"""Multi-branch modules, described by tables as in the Inception papers.

A table is a `Fork`: branches with the same input, each a sequence of `Layer`s, pooling functions
and nested forks. A figure with "1x1 and 3x3 beside an average pool and 1x1" has the table

    fork([Layer(64), Layer(96, 3)], [AVERAGE, Layer(32)])

and its module is `Branches(table, conv, norm, act)`.
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
      kernel_size: side of a square kernel, or (height, width).
      padding: pixels on every side, or "SAME" as in TensorFlow; None keeps the size, apart from
        strides.
    """

    features: int
    kernel_size: int | tuple[int, int] = 1
    strides: int = 1
    padding: int | str | None = None


class Fork(NamedTuple):
    """Branches with the same input; their channels are concatenated in order."""

    branches: tuple[tuple[Step, ...], ...]


def fork(*branches: Sequence[Step]) -> Fork:
    """Returns the table of these branches; a branch of one step is also a sequence."""
    return Fork(tuple(tuple(branch) for branch in branches))


# The pool of most modules. Only pixels of the map count in the average, as in TensorFlow.
AVERAGE = partial(avg_pool, window=(3, 3), strides=(1, 1), padding=1, count_include_pad=False)
MAX = partial(max_pool, window=(3, 3), strides=(2, 2))


class Chain(nn.Module):
    """Consecutive steps: `conv1`, `conv2`, `fork3`, …; pools have no name or number."""

    steps: Sequence[Step]
    conv: Constructor
    norm: Constructor | None
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to the output of the last step."""
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
    """`branch1`, `branch2`, … of a table, with the same input; concatenates channels in order."""

    table: Fork
    conv: Constructor
    norm: Constructor | None
    act: Activation

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H', W', C'); all branches must have the same H' and W'."""
        return self.join(x)

    def join(self, x: jax.Array) -> jax.Array:
        """Returns the branches' concatenated channels; for subclasses that add further layers."""
        outputs = [
            Chain(branch, self.conv, self.norm, self.act, name=f"branch{i + 1}")(x)
            for i, branch in enumerate(self.table.branches)
        ]
        return jnp.concatenate(outputs, axis=-1)
