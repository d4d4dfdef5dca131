"""Faster formulas for convolutions on the CPU, with the same results.

XLA:CPU is fast at dense convolutions, matrix products and element-wise loops. It expands other
operations: the weight gradient of a grouped convolution becomes a dense one of all groups, and the
sum of an array over its leading axes adds one number after another. These formulas avoid that. They
take images (N, H, W, C), kernels (h, w, C / groups, F) and a `Window`.
"""

import math
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.conv_cpu_grad import conv
from jaxcnn.ops.matmul import dot_general
from jaxcnn.ops.reductions import sum_over_pixels, wide
from jaxcnn.ops.windows import Window, cell_slices, cells, from_cells, tap_slices, taps

# Number of multiply-adds above which float64 convolutions repay the compilation of `tap_by_tap`.
LARGE_IN_DOUBLES = 2**28
CACHED = 1e6, 6e6  # bytes, least and most, of images that stay in a cache


def ungrouped(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups, by the fastest of four formulas."""
    kernel, window = _without_idle_taps(image, kernel, window)
    if is_dense(image, window):
        return dense(image, kernel)
    pixels, area = math.prod(window.outputs(image.shape)), math.prod(window.shape)
    images, channels = image.shape[0], min(kernel.shape[2:])
    if pixels > 0 and area <= 25 and _suits_im2col(images, pixels, kernel.shape[3], channels):
        return im2col(image, kernel, window)
    doubles = image.dtype == jnp.float64 and channels >= 64 and area <= 9
    if doubles and images * pixels * kernel.size > LARGE_IN_DOUBLES:
        return tap_by_tap(image, kernel, window)
    return conv(image, kernel, window)


def _suits_im2col(images: int, pixels: int, features: int, channels: int) -> bool:
    """Returns whether `im2col` is the fastest formula, by the times in its docstring.

    Args:
      images: number of images; symbolic in a program for any batch size.
      pixels: number of outputs of an image.
      features: channels of the output.
      channels: the smaller one of image's and output's channels.
    """
    if pixels <= (49 if channels >= 128 else 4):
        return True
    return isinstance(images, int) and images * pixels <= (800 if features >= 64 else 400)


def _without_idle_taps(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, Window]:
    """Leaves out outer taps that reach no pixel: of 3x3 taps over one padded pixel, eight."""
    if window.dilation != (1, 1):
        return kernel, window
    kept = []
    for length, count, stride, (before, _), outputs in zip(
        image.shape[1:3],
        window.shape,
        window.strides,
        window.pads,
        window.outputs(image.shape),
        strict=True,
    ):
        starts = range(-before, -before + outputs * stride, stride)
        reaching = [tap for tap in range(count) if any(0 <= s + tap < length for s in starts)]
        kept.append(slice(reaching[0], reaching[-1] + 1) if reaching else slice(0, count))
    shape = tuple(part.stop - part.start for part in kept)
    if shape == window.shape:
        return kernel, window
    pads = tuple(
        (before - part.start, after - count + part.stop)
        for (before, after), count, part in zip(window.pads, window.shape, kept, strict=True)
    )
    return kernel[tuple(kept)], window._replace(shape=shape, pads=pads)


def is_dense(image: jax.Array, window: Window) -> bool:
    """Returns whether the window covers the whole image, and nothing else."""
    unpadded = not any(map(any, window.pads))
    return unpadded and window.shape == image.shape[1:3] and window.dilation == (1, 1)


def dense(image: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with a kernel as large as the image: a product of two matrices.

    C5 of LeNet-5, 64 images: value and gradients took 3.6 ms as a convolution, 0.7 so.
    """
    number = image.shape[0]  # symbolic in a program for any batch size
    rows, matrix = image.reshape(number, -1), kernel.reshape(-1, kernel.shape[3])
    return dot_general(rows, matrix, (((1,), (0,)), ((), ()))).reshape(number, 1, 1, -1)


def im2col(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups: the pixels of every window in a row, and one matrix product.

    XLA:CPU convolves a few small maps slowly. Value and both gradients in ms, with 3x3 taps, by
    XLA's convolution (with the gradients of `conv`) and by this function, on two cores of an Intel
    Xeon of 2.0 GHz, jax 0.12.0.1:

    | map, channels        | 1 image    | 4          | 16         | 64          |
    |----------------------|-----------:|-----------:|-----------:|------------:|
    | 2x2, 64              | 0.70, 0.12 | 1.5, 0.23  | 3.1, 0.41  | 10.4, 1.2   |
    | 4x4, 128 to 32       | 0.51, 0.23 | 0.70, 0.61 | 1.5, 1.4   | 3.8, 5.0    |
    | 5x5, 64              | 0.55, 0.27 | 1.03, 0.69 | 2.3, 1.9   | 6.7, 7.0    |
    | 7x7, 256             | 4.6, 2.0   | 14, 8.4    | 35, 29     | 121, 119    |
    | 10x10, 64            | 0.70, 0.48 | 2.2, 1.6   | 5.3, 6.2   | 19, 33      |
    | 14x14, 128 to 32     | 1.7, 1.5   | 4.4, 5.2   | 11, 28     | 54, 147     |
    """
    padded = jnp.pad(image, ((0, 0), *window.pads, (0, 0)))
    sizes = window.outputs(image.shape)
    windows = jnp.concatenate([part for _, part in tap_slices(padded, sizes, window)], axis=-1)
    rows, matrix = windows.reshape(-1, windows.shape[-1]), kernel.reshape(-1, kernel.shape[3])
    product = dot_general(rows, matrix, (((1,), (0,)), ((), ())))
    return product.reshape(image.shape[0], *sizes, kernel.shape[3])


def tap_by_tap(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups: the sum of one matrix product per tap.

    For float64 XLA:CPU has a library for products only. Value and both gradients by XLA and by this
    function took 2.59 and 0.23 s for 3x3, 512 channels, 14x14, 4 images; 6.8 and 2.8 s for 64 to
    128, 112x112. One product with all taps would copy the image nine times.
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

    They are slices of a padded copy, which XLA vectorises. Without the copy it asks for every pixel
    whether it is padding, which took 3.4 times as long; it must be an array of its own, or XLA pads
    again for each tap.

    Forward mode (`jax.jvp`) is not supported; see `jaxcnn.ops.switch`.
    """
    return _depthwise_forward(image, kernel, window)[0]


def _depthwise_forward(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    padded = materialize_on_cpu(jnp.pad(image, ((0, 0), *window.pads, (0, 0))))
    products = [
        wide(part) * wide(kernel[i : i + 1, j : j + 1])
        for (i, j), part in tap_slices(padded, window.outputs(image.shape), window)
    ]
    # Otherwise a product that reads it flat would compute the taps in loops without vectorisation.
    total = materialize_on_cpu(reduce(lax.add, products).astype(image.dtype))
    return total, (padded, kernel)


def _depthwise_backward(
    window: Window, saved: tuple[jax.Array, jax.Array], outputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    padded, kernel = saved
    outputs = materialize_on_cpu(outputs)
    (top, below), (left, after) = window.pads
    sizes = padded.shape[1] - top - below, padded.shape[2] - left - after
    of_image = _of_image(sizes, kernel, outputs, window)
    of_kernel = _of_kernel(padded, outputs, window)
    return of_image, of_kernel.reshape(kernel.shape).astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _of_image(
    sizes: Sequence[int], kernel: jax.Array, outputs: jax.Array, window: Window
) -> jax.Array:
    """Returns the gradient of the image in a depthwise convolution: a sum of slices, cell by cell.

    Args:
      sizes: (H, W) of the image.
      kernel: (h, w, 1, C).
      outputs: gradient of the output, (N, H', W', C).
      window: movement of the kernel.
    """
    rows, columns = axes = cells(sizes, outputs.shape[1:3], window)
    around = outputs
    if any(rows.pads + columns.pads):
        around = materialize_on_cpu(jnp.pad(outputs, ((0, 0), rows.pads, columns.pads, (0, 0))))
    # For every slice of the outputs the filters (stride, stride, C) of a cell's pixels.
    down, across = (np.array([taps for _, taps in axis.reached]) for axis in axes)
    filters = jnp.pad(wide(kernel[:, :, 0]), ((0, 1), (0, 1), (0, 0)))  # tap -1 is zero
    filters = materialize_on_cpu(filters[down[:, None, :, None], across[:, None]])
    filters = filters.reshape(-1, 1, 1, down.shape[1], 1, across.shape[1], kernel.shape[3])
    slices = [part for _, part in cell_slices(around, axes)]
    products = [wide(part) * each for part, each in zip(slices, filters, strict=True)]
    whole = reduce(lax.add, products).astype(outputs.dtype)
    return materialize_on_cpu(from_cells(whole, sizes))


def _of_kernel(padded: jax.Array, outputs: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the kernel in a depthwise convolution, (taps, C).

    Every tap reads both arrays. At stride 1 a loop takes copies of a few images, which stay in the
    processor's cache: 17 images of 95x95 with 32 channels took 22 ms at once, 10 one by one.

    Args:
      padded: the padded image.
      outputs: gradient of the output, (N, H', W', C).
      window: movement of the kernel.
    """

    def of(padded: jax.Array, outputs: jax.Array) -> jax.Array:
        slices = tap_slices(padded, outputs.shape[1:3], window)
        return jnp.stack([sum_over_pixels(lax.mul, part, outputs) for _, part in slices])

    number = _images_in_cache(padded.nbytes + outputs.nbytes, len(outputs))
    if window.strides != (1, 1) or number == len(outputs):
        return of(padded, outputs)

    def add(index: int, total: jax.Array) -> jax.Array:
        first = index * number
        few = (lax.dynamic_slice_in_dim(x, first, number) for x in (padded, outputs))
        return total + of(*map(materialize_on_cpu, few))

    shape = math.prod(window.shape), outputs.shape[3]
    return lax.fori_loop(0, len(outputs) // number, add, wide(jnp.zeros(shape, outputs.dtype)))


def _images_in_cache(size: int, images: int) -> int:
    """Returns how many of the images to take at a time: all, if no part is worth a loop.

    Args:
      size: bytes of all images.
      images: how many there are.
    """
    parts = [n for n in range(1, images) if images % n == 0]
    sizes = {n: n * size / images for n in parts if CACHED[0] <= n * size / images <= CACHED[1]}
    return min(sizes, key=lambda n: abs(sizes[n] - CACHED[0]), default=images)
