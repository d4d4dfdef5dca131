"""Faster formulas for convolutions on the CPU, with the same results.

XLA:CPU is fast at dense convolutions, matrix products and element-wise loops. It expands other
operations: the weight gradient of a grouped convolution becomes a dense one of all groups, and the
sum of an array over its leading axes adds one number after another. These formulas avoid that. They
take images (N, H, W, C), kernels (h, w, C / groups, F) and a `Window`.
"""

import math
from functools import partial
from operator import mul

import jax
import jax.numpy as jnp

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.conv_cpu_grad import conv
from jaxcnn.ops.reductions import sum_over_pixels, wide
from jaxcnn.ops.windows import Window, taps

# Number of multiply-adds above which float64 convolutions repay the compilation of `tap_by_tap`.
LARGE_IN_DOUBLES = 2**28


def ungrouped(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups, by the faster of two formulas."""
    pixels, channels = math.prod(window.outputs(image.shape)), min(kernel.shape[2:])
    most = 49 if channels >= 64 else 4 if channels >= 32 else 0
    if image.dtype == jnp.float64 and len(image) * pixels * kernel.size > LARGE_IN_DOUBLES:
        most = pixels if channels >= 64 else 0
    few = 0 < pixels <= most and math.prod(window.shape) <= 9
    return (tap_by_tap if few else conv)(image, kernel, window)


def tap_by_tap(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups: the sum of one matrix product per tap.

    XLA:CPU convolves maps of a few pixels slowly: at 2x2 it takes a hundred times as long. For
    float64 it has a library for products only. Value and both gradients by XLA and by this function
    took 2.59 and 0.23 s for 3x3, 512 channels, 14x14, 4 images; 6.8 and 2.8 s, 64 to 128, 112x112.
    """
    sizes, count = window.outputs(image.shape), math.prod(window.shape)
    total = wide(jnp.zeros((image.shape[0], *sizes, kernel.shape[3]), image.dtype))
    # Splits, not slices: the gradient of slices would be a sum of whole kernels.
    parts = jnp.split(kernel.reshape(count, *kernel.shape[2:]), count)
    for tap, part in zip(taps(image.shape, window), parts, strict=True):
        pixels = image[tap.pixels]
        if pixels.size:
            products = wide(jnp.tensordot(pixels, part[0], 1))
            total += tap.spread(products, sizes, 0.0)
    return total.astype(image.dtype)


def pointwise(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves with a 1x1 kernel, without padding or groups: a product of two matrices."""
    down, right = window.strides
    kept = image[:, ::down, ::right]
    pixels = kept.reshape(-1, kept.shape[-1])
    return (pixels @ kernel[0, 0]).reshape(*kept.shape[:-1], kernel.shape[-1])


def grouped(image: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    """Convolves slices of the channels densely and concatenates the results.

    A dense convolution of fewer than 16 channels takes about as long as one of 16. Narrow groups
    are therefore joined, with zeros in the kernel between them.
    """
    width, joined = kernel.shape[2], groups
    while joined % 2 == 0 and joined * width > 16:
        joined //= 2
    parts = groups // joined
    split = kernel.reshape(*kernel.shape[:3], parts, joined, -1)
    own = jnp.eye(joined, dtype=bool)[:, None, :, None]  # a factor of 0 would turn inf into NaN
    blocks = jnp.where(own, split.transpose(3, 0, 1, 2, 4, 5)[:, :, :, None], 0)
    blocks = blocks.reshape(parts, *kernel.shape[:2], joined * width, -1)
    images = jnp.split(image, parts, axis=-1)
    # Splits, not slices: the gradient of slices would be a sum of whole kernels.
    kernels = (block[0] for block in jnp.split(blocks, parts))
    outputs = [conv(part, one, window) for part, one in zip(images, kernels, strict=True)]
    return jnp.concatenate(outputs, axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves each channel with its own filter: a sum of shifted products.

    Forward mode (`jax.jvp`) is not supported; see `jaxcnn.ops.switch`.
    """
    # Otherwise a product that reads it flat would compute the taps in loops without vectorisation.
    return materialize_on_cpu(_depthwise_forward(image, kernel, window)[0])


def _depthwise_forward(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # Store the input of all taps, because XLA would compute it again for each tap; also below.
    image = materialize_on_cpu(image)
    return _sum_of_taps(image, kernel, window), (image, kernel)


def _depthwise_backward(
    window: Window, saved: tuple[jax.Array, jax.Array], outputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    image, kernel = saved
    outputs = materialize_on_cpu(outputs)
    (of_image,) = jax.linear_transpose(lambda x: _sum_of_taps(x, kernel, window), image)(outputs)
    of_kernel = [
        sum_over_pixels(mul, image[tap.pixels], outputs[tap.outputs])
        for tap in taps(image.shape, window)
    ]
    return materialize_on_cpu(of_image), jnp.stack(of_kernel).reshape(kernel.shape).astype(
        kernel.dtype
    )


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_of_taps(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Returns the depthwise convolution."""
    sizes = window.outputs(image.shape)
    total = wide(jnp.zeros((image.shape[0], *sizes, image.shape[3]), image.dtype))
    for tap in taps(image.shape, window):
        i, j = tap.place
        products = wide(image[tap.pixels]) * wide(kernel[i : i + 1, j : j + 1])
        total += tap.spread(products, sizes, 0.0)
    return total.astype(image.dtype)
