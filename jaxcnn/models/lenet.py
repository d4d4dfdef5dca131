"""LeNet-5, as published and in its modern form.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

`lenet5` is the paper's (§II.B): 32x32 inputs, background -0.1 and ink 1.175; 5x5 convolutions of 6
and 16 maps without padding, the second with a table of connections; subsampling with a coefficient
and a bias for each map; then 120 and 84 units, a scaled tanh after all of these, and fixed radial
basis functions, one per class; U(±2.4/fan_in). `lenet5_softmax` has a linear layer for a softmax
instead; in `lenet5_full_c3` C3 uses all maps, and S4 is a max-pool without parameters.

Ours: the exact pixels of the codes (the paper draws them; ours are strokes of two pixels in 7x12),
biases that start at zero, and no tanh after a pool without parameters.

`lenet5_modern` is the common form today: C3 uses all maps, the average pools have no parameters,
the output is linear for a softmax, ReLU replaces the scaled tanh. ReLU is the default because it
needs no special input scaling; `act=nn.tanh` is closer to the paper. He initialisation suits ReLU.

MNIST, test error (%), parameters at 32x32x1:

  lenet5           0.95   60,000   (0.8 with distorted digits; 340,908 connections)
  lenet5_softmax   –      60,850
  lenet5_full_c3   –      60,868
  lenet5_modern    –      61,706
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers import minus_distances
from jaxcnn.layers.activations import scaled_tanh
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.initializers import lecun_1998, uniform
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import Network
from jaxcnn.ops.pool import avg_pool, max_pool
from jaxcnn.ops.sharding import is_explicit

# The paper's table I: the maps of S2 that are connected to each map of C3.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),  # neighbours, in a ring
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),  # two pairs of neighbours
    (0, 1, 2, 3, 4, 5),
)

# Twelve rows of seven pixels for each digit, the highest bit on the left.
_DRAWN = (
    "1C 36 63 63 63 63 63 63 36 1C 00 00",
    "0C 1C 3C 0C 0C 0C 0C 0C 0C 3F 00 00",
    "3E 63 63 03 06 0C 18 30 60 7F 00 00",
    "7F 03 06 0C 1E 03 03 03 63 3E 00 00",
    "06 0E 1E 36 66 66 7F 06 06 06 00 00",
    "7F 60 60 7E 63 03 03 03 63 3E 00 00",
    "1E 30 60 60 7E 73 63 63 73 3E 00 00",
    "7F 03 03 06 0C 0C 18 18 18 18 00 00",
    "3E 63 63 63 3E 63 63 63 63 3E 00 00",
    "3E 67 63 63 67 3F 03 03 06 3C 00 00",
)
CODES = np.array(  # (10, 84), ink 1 and paper -1: target of F6 for each digit
    [
        [2 * int(bit) - 1 for row in digit.split() for bit in f"{int(row, 16):07b}"]
        for digit in _DRAWN
    ]
)

SUBSAMPLINGS = ("trainable", "average", "max")
OUTPUTS = ("rbf", "softmax")


class TableConv(nn.Module):
    """Convolution without padding whose output maps are connected to some input maps.

    Only the connections in the table are stored and computed: `map0`, `map1`, … hold the kernels of
    one input map, for the connected output maps. (Kernels per output map, with equal sizes in one
    grouped convolution, would make gradients many times slower on a CPU.)

    Attributes:
      table: for each output map the numbers of its input maps.
    """

    table: Sequence[Sequence[int]]
    kernel_size: tuple[int, int]
    conv: Constructor
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H', W', len(table))."""
        known = range(x.shape[-1])
        if any(not row or len({*row} & {*known}) < len(row) for row in self.table):
            raise UserError(
                f"table={self.table}: a row is the numbers of some of {len(known)} maps, once each"
            )
        fan_in = math.prod(self.kernel_size) * np.array([len(row) for row in self.table])
        y = self.param("bias", nn.initializers.zeros, (len(self.table),), self.param_dtype)
        y = y.reshape(1, 1, 1, -1)
        for number in known:
            seeing = np.array([i for i, row in enumerate(self.table) if number in row])
            if seeing.size:
                bounds: Any = 2.4 / fan_in[seeing]  # as `lecun_1998` for each connected map
                conv = partial(self.conv, use_bias=False, kernel_init=uniform(bounds), padding=0)
                kernels = conv(seeing.size, self.kernel_size, name=f"map{number}")
                part = kernels(jax.lax.slice_in_dim(x, number, number + 1, axis=-1))
                pixels = jnp.zeros_like(jax.lax.slice_in_dim(part, 0, 1, axis=-1))
                y = y.astype(part.dtype) + pixels
                y = _add_maps(y, seeing, part)
        return y


def _add_maps(y: jax.Array, maps: np.ndarray, part: jax.Array) -> jax.Array:
    """Adds (N, H, W, len(maps)) to those maps of y."""
    if not is_explicit(part):
        return y.at[..., maps].add(part)
    none = jnp.zeros_like(part[..., :1])  # JAX cannot scatter explicitly sharded arrays
    own = {number: part[..., i : i + 1] for i, number in enumerate(maps.tolist())}
    return y + jnp.concatenate([own.get(i, none) for i in range(y.shape[-1])], axis=-1)


class Subsampling(nn.Module):
    """Sum of 2x2, times a coefficient, plus a bias, activation; `scale` and `bias` for each map."""

    act: Activation
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H/2, W/2, C); drops an odd row or column."""
        shape = x.shape[-1:]
        scale = self.param("scale", lecun_1998(4), shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, self.param_dtype)
        sums = 4 * avg_pool(x, (2, 2), (2, 2))
        scale, bias = (jnp.broadcast_to(p.astype(x.dtype), sums.shape) for p in (scale, bias))
        return self.act(scale * sums + bias)


class LeNet5(Network):
    """C1 5x5(6), S2, C3 5x5(16), S4, C5 120, F6 84, each with its activation; output.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 16, to logits (N,
    num_classes) in at least float32. The logits of the radial basis functions are the negated
    squared distances of F6 to the codes, so the largest is the prediction; train them with
    `jaxcnn.training.losses.rbf_map` or `rbf_mse`. There is no normalisation and no dropout, so
    `train` has no effect. C5 is a dense layer over the whole remaining map, which at 32x32 is the
    paper's 5x5 convolution; its size depends on the input size.

    Attributes:
      table: for each map of C3 its maps of S2; None is 16 maps connected to all.
      subsampling: S2 and S4, each "trainable" as in the paper, "average" or "max".
      output: "rbf" has no parameters, "softmax" is a linear layer.

    Raises:
      UserError: if images are not of rank 4 or too small, `subsampling` or `output` is unknown, the
        table has maps that S2 lacks, or there are more classes than codes.
    """

    num_classes: int = 10
    table: Sequence[Sequence[int]] | None = C3_TABLE
    subsampling: Sequence[str] = ("trainable", "trainable")
    output: str = "rbf"
    act: Activation = scaled_tanh

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest=16)
        self._check_fields()
        conv = self.convolution(lecun_1998())
        dense: Constructor = partial(nn.Dense, kernel_init=lecun_1998(), **self.dtypes)

        def subsampled(x: jax.Array, kind: str, name: str) -> jax.Array:
            if kind == "trainable":
                return Subsampling(self.act, self.param_dtype, name=name)(x)
            pool = avg_pool if kind == "average" else max_pool
            return pool(x, (2, 2), (2, 2))

        x = self.act(conv(6, (5, 5), padding=0, name="c1")(images))
        x = subsampled(x, self.subsampling[0], "s2")
        if self.table is None:
            x = self.act(conv(16, (5, 5), padding=0, name="c3")(x))
        else:
            x = self.act(TableConv(self.table, (5, 5), conv, self.param_dtype, name="c3")(x))
        x = subsampled(x, self.subsampling[1], "s4")
        x = x.reshape(x.shape[0], -1)
        x = self.act(dense(120, name="c5")(x))
        x = self.act(dense(84, name="f6")(x))
        if self.output == "rbf" and self.num_classes > 0:
            return minus_distances(x, CODES[: self.num_classes])
        return self.classify(x, lecun_1998())

    def _check_fields(self) -> None:
        if self.table is not None and self.kernel_init is not None:
            raise UserError(
                "kernel_init does not go with a table: kernels of C3 start by the number of maps"
                " that each map sees; leave kernel_init out"
            )
        if len(self.subsampling) != 2:
            raise UserError(f"subsampling={tuple(self.subsampling)}: there are two, S2 and S4")
        for kind in self.subsampling:
            if kind not in SUBSAMPLINGS:
                raise UserError(f"no subsampling {kind!r}: {nearest(kind, SUBSAMPLINGS)}")
        if self.output not in OUTPUTS:
            raise UserError(f"no output {self.output!r}: {nearest(self.output, OUTPUTS)}")
        if self.output == "rbf" and self.num_classes > len(CODES):
            raise UserError(
                f"num_classes={self.num_classes}: there are codes for {len(CODES)} digits, take "
                'output="softmax"'
            )


class LeNet5Modern(Network):
    """5x5(6), ReLU, pool, 5x5(16), ReLU, pool, 120, ReLU, 84, ReLU, linear.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 16, to logits (N,
    num_classes) in at least float32. There is no normalisation and no dropout, so `train` has no
    effect. C5 is a dense layer over the whole remaining map, which at 32x32 is the paper's 5x5
    convolution; its size depends on the input size.

    Raises:
      UserError: if images are not of rank 4 or too small.
    """

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images, smallest=16)
        start = nn.initializers.he_normal()
        conv = self.convolution(start)
        dense: Constructor = partial(nn.Dense, kernel_init=start, **self.dtypes)
        pool = partial(avg_pool, window=(2, 2), strides=(2, 2))

        x = pool(self.act(conv(6, (5, 5), padding=0, name="c1")(images)))
        x = pool(self.act(conv(16, (5, 5), padding=0, name="c3")(x)))
        x = x.reshape(x.shape[0], -1)
        x = self.act(dense(120, name="c5")(x))
        x = self.act(dense(84, name="f6")(x))
        return self.classify(x)
