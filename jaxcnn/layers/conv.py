"""Convolution, its padding and initialisation, and the conv-norm-activation triple."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from jaxcnn.ops.conv import conv_general_dilated

# A module class, or a partial of one, to be called with the arguments that are still open.
Constructor = Callable[..., Any]
Activation = Callable[[jax.Array], jax.Array]

# No padding unless asked for. Flax's own default, SAME, pads a stride-2 convolution by (0, 1) at
# even sizes where the papers and their released code pad by (1, 1): forgotten padding should be
# a wrong shape, not a slightly different network.
Conv = partial(nn.Conv, padding=0, conv_general_dilated=conv_general_dilated)

# He et al. (arXiv 1502.01852), variance 2 / (k²·C_out), not truncated: the form of the released
# ResNet and DenseNet code.
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def symmetric_padding(
    kernel_size: Sequence[int], dilation: int | Sequence[int] = 1
) -> tuple[tuple[int, int], ...]:
    """Returns the padding, equal on both sides, with which stride 1 keeps the map size.

    Args:
      kernel_size: one odd number for each spatial axis.
      dilation: distance between taps, for all axes or for each.

    Raises:
      ValueError: if a kernel size is even, for which no such padding exists.
    """
    if any(k % 2 == 0 for k in kernel_size):
        raise ValueError(f"no symmetric padding keeps the size under kernel {tuple(kernel_size)}")
    dilations = [dilation] * len(kernel_size) if isinstance(dilation, int) else dilation
    return tuple((d * (k // 2),) * 2 for k, d in zip(kernel_size, dilations, strict=True))


class ConvNormAct(nn.Module):
    """Conv, BN, ReLU, with parameters `conv` and `norm`.

    Maps (N, H, W, C) to (N, H', W', features).

    Attributes:
      padding: as in `nn.Conv`; None is `symmetric_padding(kernel_size)`.
      norm: None leaves it out.
      act: None leaves it out.
    """

    features: int
    kernel_size: Sequence[int]
    conv: Constructor
    norm: Constructor | None
    act: Activation | None
    strides: int | Sequence[int] = 1
    padding: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activated maps; see the class."""
        padding = symmetric_padding(self.kernel_size) if self.padding is None else self.padding
        x = self.conv(
            self.features, self.kernel_size, strides=self.strides, padding=padding, name="conv"
        )(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x)
        return x if self.act is None else self.act(x)
