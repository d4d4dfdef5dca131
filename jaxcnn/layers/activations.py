"""Activations by name: the values of the field `act` of a network.

Each is a function of an array. `prelu` and `rrelu` create a submodule of the calling module, so
they work only within a module's `__call__`. Their stand-alone modules are `PReLU` and `RReLU`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Activation, Constructor, Conv


class PReLU(nn.Module):
    """max(x, 0) + a·min(x, 0) with a learned slope a per channel (He et al., arXiv 1502.01852).

    Maps (…, C) to (…, C). The parameter is `slope` (C,), in at least float32. The paper applies no
    weight decay to it; `optimizer.decay_mask=("^(?!.*slope$)",)` excludes it if a recipe decays all
    weights.
    """

    initial_slope: float = 0.25

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated array."""
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        start = nn.initializers.constant(self.initial_slope)
        slope = self.param("slope", start, x.shape[-1:], dtype).astype(x.dtype)
        return jnp.where(x >= 0, x, jnp.expand_dims(slope, tuple(range(x.ndim - 1))) * x)


class RReLU(nn.Module):
    """max(x, 0) + a·min(x, 0) with a drawn from U(lower, upper) (Xu et al., arXiv 1505.00853).

    In training, when `apply` has an rng `dropout`, a slope is drawn for each element; otherwise all
    slopes are (lower + upper) / 2. torch does the same; the paper draws 1/a from U(3, 8), and
    divides by 5.5 at test.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated array, of the same shape."""
        slope: Any = (self.lower + self.upper) / 2
        # `init` draws nothing, so that `init_with_output` returns the same outputs as evaluation.
        if self.has_rng("dropout") and not self.is_initializing():
            key = self.make_rng("dropout")
            slope = jax.random.uniform(key, x.shape, x.dtype, self.lower, self.upper)
        return jnp.where(x >= 0, x, slope * x)


def prelu(x: jax.Array) -> jax.Array:
    """Applies a `PReLU` of the calling module: `PReLU_0`, `PReLU_1`, … in the order of calls."""
    return PReLU()(x)


def rrelu(x: jax.Array) -> jax.Array:
    """Applies an `RReLU` of the calling module: random if there is an rng `dropout`."""
    return RReLU()(x)


def scaled_tanh(x: jax.Array) -> jax.Array:
    """Returns LeNet-5's 1.7159·tanh(2x/3), which maps ±1 to ±1, the points of largest curvature."""
    return 1.7159 * jnp.tanh(2 / 3 * x)


def maxout(x: jax.Array, pieces: int) -> jax.Array:
    """Takes the maximum over groups of `pieces` adjacent channels: (…, pieces·C) to (…, C).

    Raises:
      UserError: if `pieces` does not divide the number of channels.
    """
    channels = x.shape[-1]
    if pieces < 1 or channels % pieces:
        raise UserError(f"maxout over {pieces} of {channels} channels: it must divide them")
    return jnp.max(x.reshape(*x.shape[:-1], channels // pieces, pieces), axis=-1)


def pairwise_maxout(x: jax.Array) -> jax.Array:
    """Takes the maximum of each two adjacent channels: (…, 2·C) to (…, C); see `maxout`."""
    return maxout(x, 2)


ACTIVATIONS: dict[str, Activation] = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,  # slope 0.01
    "prelu": prelu,
    "rrelu": rrelu,
    "elu": nn.elu,  # x or e^x - 1
    "gelu": nn.gelu,
    "maxout": pairwise_maxout,  # halves the number of channels
    "tanh": nn.tanh,
    "scaled_tanh": scaled_tanh,
    "sigmoid": nn.sigmoid,
}


def activation(name: str) -> Activation:
    """Returns the activation of a name in `ACTIVATIONS`.

    Raises:
      UserError: if the name does not exist.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"no activation {name!r}: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


class Maxout(nn.Module):
    """Maximum of `pieces` linear functions (Goodfellow et al., arXiv 1302.4389).

    Maps (…, C) to (…, features). The parameters are those of `dense` with pieces·features units.

    Attributes:
      dense: constructor of the linear layer; a partial of `nn.Dense` sets dtypes and initialisers.
    """

    features: int
    pieces: int = 2
    dense: Constructor = nn.Dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the maxima."""
        return maxout(self.dense(self.pieces * self.features, name="dense")(x), self.pieces)


class MaxoutConv(nn.Module):
    """Maximum of `pieces` convolutions, at every pixel.

    Maps (N, H, W, C) to (N, H', W', features). The parameters are those of `conv` with
    pieces·features filters.

    Attributes:
      conv: constructor of the convolution; a partial of `Conv` sets strides, padding and so on.
    """

    features: int
    kernel_size: Sequence[int]
    pieces: int = 2
    conv: Constructor = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the maxima."""
        filters = self.conv(self.pieces * self.features, self.kernel_size, name="conv")
        return maxout(filters(x), self.pieces)
