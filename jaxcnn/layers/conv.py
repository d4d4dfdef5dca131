"""Convolution, padding, transposed convolution, and the conv-norm-activation triple."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError, nearest
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.matmul import dot_general

# A module class, or a partial of one, that is called with the remaining arguments.
Constructor = Callable[..., Any]
Activation = Callable[[jax.Array], jax.Array]

# No padding by default. Flax's default, SAME, pads a stride-2 convolution by (0, 1) at even sizes
# where the papers and their released code pad by (1, 1). Forgotten padding should give a wrong
# shape instead of a slightly different network.
Conv = partial(nn.Conv, padding=0, conv_general_dilated=conv_general_dilated)
Dense = partial(nn.Dense, dot_general=dot_general)  # for hidden layers of thousands of features


def symmetric_padding(
    kernel_size: Sequence[int], dilation: int | Sequence[int] = 1
) -> tuple[tuple[int, int], ...]:
    """Returns the symmetric padding with which stride 1 keeps the map size.

    Args:
      kernel_size: one odd number per spatial axis.
      dilation: distance between taps, for all axes or per axis.

    Raises:
      ValueError: if a kernel size is even; no such padding exists for it.
    """
    if any(k % 2 == 0 for k in kernel_size):
        raise ValueError(f"no symmetric padding keeps the size under kernel {tuple(kernel_size)}")
    dilations = _per_axis(dilation, len(kernel_size))
    return tuple((d * (k // 2),) * 2 for k, d in zip(kernel_size, dilations, strict=True))


MODES = ("full", "same", "valid")


def mode_padding(
    mode: str, kernel_size: Sequence[int], dilation: int | Sequence[int] = 1
) -> tuple[tuple[int, int], ...]:
    """Returns the padding (before, after) of a convolution mode, for each spatial axis.

    With stride 1 and dilation 1, a kernel k maps n pixels to n + k - 1 in mode "full" (every window
    that overlaps the image), n in "same", n - k + 1 in "valid" (every window within the image). A
    kernel with taps at distance d spans d·(k - 1) + 1 pixels. If "same" cannot pad equally, because
    d·(k - 1) is odd, the larger part is at the end, as in TensorFlow.

    Args:
      mode: one of `MODES`.
      kernel_size: one number per spatial axis.
      dilation: distance between taps, for all axes or per axis.

    Raises:
      UserError: if the mode does not exist.
    """
    if mode not in MODES:
        raise UserError(f"no mode of convolution {mode!r}: {nearest(mode, MODES)}")
    dilations = _per_axis(dilation, len(kernel_size))
    reach = [d * (k - 1) for k, d in zip(kernel_size, dilations, strict=True)]
    if mode == "same":
        return tuple((r // 2, r - r // 2) for r in reach)
    return tuple((r, r) if mode == "full" else (0, 0) for r in reach)


def _per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


class ConvTranspose(nn.Module):
    """Transposed convolution: adds a copy of the kernel, times its value, for each pixel.

    Maps (N, H, W, C) to (N, H', W', features), H' = (H - 1)·s + d·(k - 1) + 1 - 2p: the size that
    `Conv` with the same kernel size, strides, padding and dilation maps to H. With that
    convolution's kernel, input and output channels exchanged, and without a bias, it is the
    transpose of the linear map. Parameters: `kernel` (k, k, C, features) and `bias`.

    Attributes:
      padding: of the convolution: pixels on every side, or (before, after) for each axis. If a
        strided convolution skips the last rows, less padding at the end restores them: 3x3/2 with
        ((1, 0), (1, 0)) makes 16 pixels of 8.
      kernel_dilation: distance between taps.
      dtype: dtype of the computation; None infers it from input and parameters.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: int | Sequence[tuple[int, int]] = 0
    kernel_dilation: int | Sequence[int] = 1
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the maps."""
        axes = len(self.kernel_size)
        dilation = _per_axis(self.kernel_dilation, axes)
        pads = ((self.padding,) * 2,) * axes if isinstance(self.padding, int) else self.padding
        reach = [d * (k - 1) for k, d in zip(self.kernel_size, dilation, strict=True)]
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = (
            self.param("bias", self.bias_init, (self.features,), self.param_dtype)
            if self.use_bias
            else None
        )
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        # Equivalent to a convolution with the mirrored kernel over the input with zeros between
        # pixels.
        y = conv_general_dilated(
            x,
            jnp.flip(kernel, range(axes)),
            window_strides=(1,) * axes,
            padding=tuple(
                (r - before, r - after) for r, (before, after) in zip(reach, pads, strict=True)
            ),
            lhs_dilation=_per_axis(self.strides, axes),
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y if bias is None else y + jnp.expand_dims(bias, tuple(range(axes + 1)))


class ConvNormAct(nn.Module):
    """Conv, BN, ReLU, with parameters `conv` and `norm`.

    Maps (N, H, W, C) to (N, H', W', features).

    Attributes:
      padding: as in `nn.Conv`; None is `symmetric_padding(kernel_size)`.
      norm: None omits it.
      act: None omits it.
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
        """Returns the activated maps."""
        padding = symmetric_padding(self.kernel_size) if self.padding is None else self.padding
        x = self.conv(
            self.features, self.kernel_size, strides=self.strides, padding=padding, name="conv"
        )(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x)
        return x if self.act is None else self.act(x)
