"""Convolutions as the CPU runs them fast: the same numbers from other formulas.

XLA:CPU is fast in dense convolutions, products of matrices and element-wise loops. The rest it
expands: the weight gradient of a grouped convolution becomes a dense one of all groups, and the
sum of an array over its leading axes adds one number after another. The formulas here avoid that.
They take images (N, H, W, C), kernels (h, w, C / groups, F) and how the kernel moves.
"""

import math
from functools import partial, reduce
from operator import add

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.windows import Window, taps

LAYOUT = ("NHWC", "HWIO", "NHWC")

SMALL = 2**16  # values whose sum takes 0.2 ms in any order: not worth a longer compilation


def ungrouped(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups, in the faster of two ways."""
    pixels, channels = math.prod(window.outputs(image.shape)), min(kernel.shape[2:])
    most = 49 if channels >= 64 else 4 if channels >= 32 else 0
    few = 0 < pixels <= most and math.prod(window.shape) <= 9
    return (tap_by_tap if few else dense)(image, kernel, window)


def tap_by_tap(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups: a product of matrices for each tap, and their sum.

    XLA:CPU convolves maps of a few pixels slowly: it takes a hundred times as long at 2x2.
    """
    sizes = window.outputs(image.shape)
    total = _wide(jnp.zeros((len(image), *sizes, kernel.shape[3]), image.dtype))
    for tap in taps(image.shape, window):
        pixels = image[tap.pixels]
        if pixels.size:
            products = _wide(jnp.tensordot(pixels, kernel[tap.place], 1))
            total += tap.spread(products, sizes, 0.0)
    return total.astype(image.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups, as `jax.lax` does.

    The gradients are ordinary convolutions of transposed arrays. XLA:CPU makes them that itself,
    but not within `lax.scan`, `lax.cond` and the like, where its own take 26 times as long.
    """
    return lax.conv_general_dilated(
        image,
        kernel,
        window.strides,
        window.pads,
        rhs_dilation=window.dilation,
        dimension_numbers=LAYOUT,
    )


def _dense_forward(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return dense(image, kernel, window), (image, kernel)


def _dense_backward(
    window: Window, saved: tuple[jax.Array, jax.Array], output: jax.Array
) -> tuple[jax.Array, jax.Array]:
    image, kernel = saved
    of_image, of_kernel = [], []
    for axis in range(2):
        before, _ = window.pads[axis]
        length, moved = image.shape[1 + axis], (output.shape[1 + axis] - 1) * window.strides[axis]
        reach = (window.shape[axis] - 1) * window.dilation[axis]
        of_image.append((reach - before, length - 1 - moved + before))
        of_kernel.append((before, reach + moved + 1 - length - before))
    return (
        lax.conv_general_dilated(
            output,
            jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2),
            (1, 1),
            of_image,
            lhs_dilation=window.strides,
            rhs_dilation=window.dilation,
            dimension_numbers=LAYOUT,
        ),
        lax.conv_general_dilated(
            image.transpose(3, 1, 2, 0),
            output.transpose(1, 2, 0, 3),
            window.dilation,
            of_kernel,
            rhs_dilation=window.strides,
            dimension_numbers=LAYOUT,
        ).transpose(1, 2, 0, 3),
    )


dense.defvjp(_dense_forward, _dense_backward)


def pointwise(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves with a 1x1 kernel, without padding or groups: a product of two matrices."""
    down, right = window.strides
    kept = image[:, ::down, ::right]
    pixels = kept.reshape(-1, kept.shape[-1])
    return (pixels @ kernel[0, 0]).reshape(*kept.shape[:-1], kernel.shape[-1])


def grouped(image: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    """Convolves slices of the channels densely, and puts the results together.

    A dense convolution of less than 16 channels takes about as long as one of 16: so narrow groups
    are joined, with zeros in the kernel from one to the other.
    """
    width, joined = kernel.shape[2], groups
    while joined % 2 == 0 and joined * width > 16:
        joined //= 2
    parts = groups // joined
    split = kernel.reshape(*kernel.shape[:3], parts, joined, -1)
    blocks = jnp.einsum("hwipjo,kj->phwkijo", split, jnp.eye(joined, dtype=kernel.dtype))
    blocks = blocks.reshape(parts, *kernel.shape[:2], joined * width, -1)
    images = jnp.split(image, parts, axis=-1)
    outputs = [dense(part, block, window) for part, block in zip(images, blocks, strict=True)]
    return jnp.concatenate(outputs, axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves each channel with one filter of its own: a sum of shifted products.

    It has no forward mode (`jax.jvp`).
    """
    return _sum_of_taps(image, kernel, window)


def _depthwise_forward(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(image, kernel, window), (image, kernel)


def _depthwise_backward(
    window: Window, saved: tuple[jax.Array, jax.Array], outputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    image, kernel = saved
    (of_image,) = jax.linear_transpose(lambda x: _sum_of_taps(x, kernel, window), image)(outputs)
    of_kernel = [
        _sum_of_products(image[tap.pixels], outputs[tap.outputs])
        for tap in taps(image.shape, window)
    ]
    return of_image, jnp.stack(of_kernel).reshape(kernel.shape).astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_of_taps(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Returns the depthwise convolution."""
    sizes = window.outputs(image.shape)
    total = _wide(jnp.zeros((len(image), *sizes, image.shape[3]), image.dtype))
    for tap in taps(image.shape, window):
        i, j = tap.place
        products = _wide(image[tap.pixels]) * _wide(kernel[i : i + 1, j : j + 1])
        total += tap.spread(products, sizes, 0.0)
    return total.astype(image.dtype)


def _sum_of_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sums the products of two arrays (N, H, W, C) over all axes but the last.

    By additions of arrays, which XLA:CPU vectorises and spreads over threads; it does neither with
    the sum of an array over leading axes, which takes 7 times as long.
    """
    x, y = _wide(x), _wide(y)
    if x.size < SMALL:
        return jnp.sum(x * y, (0, 1, 2))
    rows = x.shape[1]
    step = max(rows // 14, 1)  # more than about 14 terms at a time are slower again
    whole = rows - rows % step
    sums = jnp.zeros(x.shape[-1], x.dtype)
    for first, last, size in ((0, whole, step), (whole, rows, 1)):
        starts = range(first, last, size)
        if starts:
            pairs = [[lax.slice_in_dim(z, i, i + size, axis=1) for z in (x, y)] for i in starts]
            part = reduce(add, [a * b for a, b in pairs])
            if part.size >= SMALL and len(part) <= 64:
                part = reduce(add, jnp.split(part, len(part)))
            sums += part.sum((0, 1, 2))
    return sums


def _wide(x: jax.Array) -> jax.Array:
    """In at least float32, in which sums are taken."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
