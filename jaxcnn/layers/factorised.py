"""Large convolutions as several small ones, by name: values of the field `conv` of a network."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.layers.conv import Activation, Constructor, Conv


class Factorised(nn.Module):
    """k×k as smaller convolutions with the same receptive field and activations between them.

    "Rethinking the Inception Architecture", 2015, §3.1 and §3.2: (k-1)/2 convolutions 3×3, named
    `conv1` and so on, or, asymmetric, 1×k and k×1. Each has `features` maps; in the paper,
    activations between them were better than none. Kernels up to 3×3 are unchanged (asymmetric: up
    to 1×1). Takes the same arguments as `Conv` and maps (N, H, W, C) to (N, H', W', features).

    Attributes:
      padding: 0, or one number (before, after) for each axis.
      asymmetric: whether to use 1×k and k×1.
      feature_group_count: number of groups of every factor.

    Raises:
      UserError: if the kernel size is even, or the padding has another form.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Any = 0
    asymmetric: bool = False
    feature_group_count: int = 1
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    dtype: Any = None
    param_dtype: Any = jnp.float32
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the maps, without a final activation."""
        high, wide = self.kernel_size
        pads = ((self.padding,) * 2,) * 2 if isinstance(self.padding, int) else self.padding
        if isinstance(pads, str) or high % 2 == 0 or wide % 2 == 0:
            raise UserError(
                f"kernel {tuple(self.kernel_size)} with padding {self.padding!r} has no factors:"
                " give odd sizes and pixels"
            )
        if self.asymmetric:
            factors = [(1, wide), (high, 1)] if high > 1 < wide else [(high, wide)]
        else:
            halves = max(high // 2, wide // 2, 1)
            factors = [
                (3 if high // 2 > i else 1, 3 if wide // 2 > i else 1) for i in range(halves)
            ]
        strides = (self.strides,) * 2 if isinstance(self.strides, int) else tuple(self.strides)
        last = len(factors) - 1
        (top, bottom), (left, right) = pads
        for i, (tall, broad) in enumerate(factors):
            # Every factor keeps the size until the padding is used up.
            up, down = min(tall // 2, top), min(tall // 2, bottom)
            before, after = min(broad // 2, left), min(broad // 2, right)
            top, bottom, left, right = top - up, bottom - down, left - before, right - after
            x = Conv(
                self.features,
                (tall, broad),
                strides=strides if i == last else 1,
                padding=((up, down), (before, after)),
                feature_group_count=self.feature_group_count,
                use_bias=self.use_bias,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"conv{i + 1}",
            )(x)
            x = x if i == last else self.act(x)
        return x


CONVOLUTIONS: dict[str, Constructor] = {
    "plain": Conv,
    "stacked_3x3": Factorised,
    "asymmetric": partial(Factorised, asymmetric=True),
}


def convolution(name: str) -> Constructor:
    """Returns the convolution constructor of a name.

    Raises:
      UserError: if the name does not exist.
    """
    if name not in CONVOLUTIONS:
        raise UserError(f"no convolution {name!r}: {nearest(name, CONVOLUTIONS)}")
    return CONVOLUTIONS[name]
