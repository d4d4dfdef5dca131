"""Ordinary convolutions on the CPU: XLA's forward pass, and gradients in forms that XLA runs fast.

Time in ms, 16 images in float32 on two cores with AVX-512, jax 0.10.1:

| gradient of the kernel                  | as a convolution | of a spread image |
|-----------------------------------------|-----------------:|------------------:|
| 3x3, 64 to 128 channels, 112x112        |              994 |               183 |
| 3x3, 256, 56x56                         |              592 |               311 |
| 3x3, 80 to 192, 73x73                   |              609 |               134 |
| 7x7/2, 3 to 64, 224x224                 |               76 |                35 |
| 7x1, 192, 17x17                         |               51 |                13 |
| 3x3, 64, 56x56                          |               36 |                29 |
| 3x3, 512, 7x7                           |               20 |                19 |
| 3x3, 128 to 32, 14x14                   |              2.3 |               2.5 |

| gradient of the image                   |          dilated |      by phases |
|-----------------------------------------|-----------------:|---------------:|
| 3x3/2, 128, 56x56                       |               50 |             26 |
| 3x3/2, 64, 112x112                      |               98 |             44 |
| 5x5/2, 64, 56x56                        |               64 |             13 |
| 3x3/2, 512, 14x14                       |               21 |             19 |

| gradient of an image of few channels    |  phase by phase  |        at once |
|-----------------------------------------|-----------------:|---------------:|
| 7x7/2, 3 to 64, 224x224                 |              215 |             72 |
| 11x11/4, 3 to 64, 224x224               |              249 |             34 |
| 3x3/2, 3 to 32, 299x299                 |               57 |             21 |

On a slower machine:

| gradient of the kernel, of few images   | of spread images | by products |
|-----------------------------------------|-----------------:|------------:|
| 3x3, 64, 56x56, 1 image                 |               24 |           6 |
| the same, 4 images                      |               36 |          26 |
| the same, 8 images                      |               38 |          57 |
| 3x3, 128 to 32, 14x14, 1 image          |              2.8 |         0.8 |
| the same, 6 images                      |              4.1 |         3.0 |
| 3x3, 256, 14x14, 1 image                |                8 |         4.5 |
| 5x5, 96 to 256, 27x27, 1 image          |               30 |          14 |
| 7x7/2, 3 to 64, 224x224, 1 image        |               35 |           8 |
| the same, 4 images                      |               49 |          81 |
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.barrier import materialize_on_cpu
from jaxcnn.ops.windows import Window, tap_slices

LAYOUT = ("NHWC", "HWIO", "NHWC")
FEW = 16  # channels


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves without groups, as `jax.lax` does; grey images to few channels plane by plane.

    The gradients use the forms in this file. XLA:CPU itself converts them to ordinary convolutions,
    but not within `lax.scan`, `lax.cond` and similar, where its own take 26 times as long.
    """
    few = kernel.shape[3] <= FEW and kernel.shape[0] * kernel.shape[1] <= 32
    grey = image.shape[3] == 1 and few
    if grey and window.strides == window.dilation == (1, 1):
        return _by_planes(image, kernel, window)
    return lax.conv_general_dilated(
        image,
        kernel,
        window.strides,
        window.pads,
        rhs_dilation=window.dilation,
        dimension_numbers=LAYOUT,
    )


def _by_planes(image: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolves images of one channel: each feature is a sum of shifted images, in a plane.

    Its inner loop is along a row. 5x5 to 6 features, 64 images of 32x32: 1.0 instead of 4.5 ms.
    """
    height, width = window.outputs(image.shape)
    dtype = jnp.promote_types(image.dtype, jnp.float32)  # for sums
    plane = materialize_on_cpu(jnp.pad(image[..., 0], ((0, 0), *window.pads))).astype(dtype)
    kernel = kernel.astype(dtype)
    shape = (image.shape[0], kernel.shape[3], height, width)
    products = [
        lax.mul(
            lax.broadcast_in_dim(plane[:, i : i + height, j : j + width], shape, (0, 2, 3)),
            lax.broadcast_in_dim(kernel[i, j, 0], shape, (1,)),
        )
        for i, j in np.ndindex(*window.shape)
    ]
    planes = materialize_on_cpu(reduce(lax.add, products).astype(image.dtype))
    return planes.transpose(0, 2, 3, 1)


def _conv_forward(
    image: jax.Array, kernel: jax.Array, window: Window
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    image = materialize_on_cpu(image)  # the transpose below would compute it again
    return conv(image, kernel, window), (image, kernel)


def _conv_backward(
    window: Window, saved: tuple[jax.Array, jax.Array], output: jax.Array
) -> tuple[jax.Array, jax.Array]:
    image, kernel = saved
    output = materialize_on_cpu(output)
    of_image = _of_image
    if window.strides != (1, 1) and window.dilation == (1, 1):
        of_image = _phases_at_once if image.shape[3] < FEW else _by_phases
    elif _suits_rows(image, window):
        of_image = _by_rows
    return of_image(image, kernel, output, window), _of_kernel(image, output, window)


def _of_image(image: jax.Array, kernel: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the image from the gradient of the output."""
    pads = [
        (reach - before, length - 1 - moved + before)
        for length, before, reach, moved in _extents(image, output, window)
    ]
    return lax.conv_general_dilated(
        output,
        jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2),
        (1, 1),
        pads,
        lhs_dilation=window.strides,
        rhs_dilation=window.dilation,
        dimension_numbers=LAYOUT,
    )


def _suits_rows(image: jax.Array, window: Window) -> bool:
    """Returns whether `_by_rows` is faster than a convolution, by its table."""
    single = window.strides == window.dilation == (1, 1)
    narrow = image.shape[2] + sum(window.pads[1]) <= 3 * window.shape[1]
    return single and narrow and window.shape[1] > 1 and image.shape[3] <= FEW // 2


def _by_rows(image: jax.Array, kernel: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of a narrow image of few channels, by products of whole rows.

    A row of outputs reaches a row of pixels through a matrix in which the taps of a kernel's row
    are repeated along a diagonal. Most of its numbers are zeros, but XLA's convolution to a few
    channels takes as long as one to `FEW`. In ms, two cores of an AMD EPYC (Zen 5), jax 0.12.0.1;
    `_suits_rows` has the limits beyond which a first version gained nothing:

    | 5x5                                     | as a convolution | by rows |
    |-----------------------------------------|-----------------:|--------:|
    | 6 to 16, 14x14, 64 images               |             0.90 |    0.32 |
    | 3 to 16, 12x12, 64                      |             0.67 |    0.15 |
    | 8 to 8, 12x12, 16                       |             0.15 |    0.05 |
    | beyond: 12 to 32, 14x14, 16             |             0.46 |    0.42 |
    | beyond: 6 to 16, 16x16 and 2 around, 64 |             1.19 |    0.85 |
    """
    (number, rows, columns, features), depth = output.shape, kernel.shape[2]
    (down, across), (top, left) = window.shape, (before for before, _ in window.pads)
    width = columns + across - 1  # of the padded image
    taps = kernel.transpose(3, 0, 1, 2)
    diagonal = [
        jnp.pad(taps, ((0, 0), (0, 0), (column, width - across - column), (0, 0)))
        for column in range(columns)
    ]
    matrix = jnp.stack(diagonal).reshape(columns * features, down * width * depth)
    flat = output.reshape(number * rows, columns * features)
    dtype = jnp.promote_types(output.dtype, jnp.float32)  # for sums
    products = jnp.matmul(flat, matrix, preferred_element_type=dtype)
    products = products.reshape(number, rows, down, width * depth)
    reached = [
        jnp.pad(products[:, :, row], ((0, 0), (row, down - 1 - row), (0, 0))) for row in range(down)
    ]
    whole = reduce(lax.add, reached).astype(output.dtype).reshape(number, -1, width, depth)
    return whole[:, top : top + image.shape[1], left : left + image.shape[2]]


def _extents(
    image: jax.Array, output: jax.Array, window: Window
) -> list[tuple[int, int, int, int]]:
    """Returns per axis: image length, padding before, last tap, last position of the window."""
    return [
        (
            image.shape[1 + axis],
            window.pads[axis][0],
            (window.shape[axis] - 1) * window.dilation[axis],
            (output.shape[1 + axis] - 1) * window.strides[axis],
        )
        for axis in range(2)
    ]


def _by_phases(image: jax.Array, kernel: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the image in a strided convolution without dilation.

    Every s-th pixel uses only every s-th tap, so each phase is a convolution with a small kernel
    and stride 1. The results of the phases are interleaved.
    """
    (down, right), pads = window.strides, window.pads
    sizes = [
        -(-(length + before) // stride)
        for length, (before, _), stride in zip(image.shape[1:3], pads, window.strides, strict=True)
    ]

    def phase(i: int, j: int) -> jax.Array:
        part = jnp.flip(kernel[i::down, j::right], (0, 1)).transpose(0, 1, 3, 2)
        if not part.size:
            return jnp.zeros((len(image), *sizes, image.shape[3]), output.dtype)
        reach = [
            (k - 1, size - n)
            for k, size, n in zip(part.shape, sizes, output.shape[1:3], strict=False)
        ]
        return lax.conv_general_dilated(output, part, (1, 1), reach, dimension_numbers=LAYOUT)

    rows = [jnp.stack([phase(i, j) for j in range(right)], axis=3) for i in range(down)]
    whole = jnp.stack(rows, axis=2).reshape(len(image), sizes[0] * down, sizes[1] * right, -1)
    (top, _), (left, _) = pads
    return whole[:, top : top + image.shape[1], left : left + image.shape[2]]


def _phases_at_once(
    image: jax.Array, kernel: jax.Array, output: jax.Array, window: Window
) -> jax.Array:
    """Returns the result of `_by_phases`, from one convolution whose features are all phases.

    A convolution to a few channels takes about as long as one to `FEW`. The kernel is padded with
    zeros, so that all phases have equally many taps.
    """
    strides, pads = window.strides, window.pads
    more = [(0, -taps % stride) for taps, stride in zip(window.shape, strides, strict=True)]
    kernel = jnp.pad(kernel, (*more, (0, 0), (0, 0)))
    (height, down), (width, right) = (
        (taps // stride, stride) for taps, stride in zip(kernel.shape, strides, strict=False)
    )
    depth = image.shape[3]
    parts = jnp.flip(kernel.reshape(height, down, width, right, depth, -1), (0, 2))
    parts = parts.transpose(0, 2, 5, 1, 3, 4).reshape(height, width, -1, down * right * depth)
    (top, _), (left, _) = pads
    rows, columns = -(-(image.shape[1] + top) // down), -(-(image.shape[2] + left) // right)
    reach = (height - 1, rows - output.shape[1]), (width - 1, columns - output.shape[2])
    found = lax.conv_general_dilated(output, parts, (1, 1), reach, dimension_numbers=LAYOUT)
    found = found.reshape(len(image), rows, columns, down, right, depth).transpose(0, 1, 3, 2, 4, 5)
    whole = found.reshape(len(image), rows * down, columns * right, depth)
    return whole[:, top : top + image.shape[1], left : left + image.shape[2]]


def _of_kernel(image: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the kernel, by the form that is faster for so many images."""
    few = len(image) <= (6 if image.shape[3] >= FEW else 2)
    return (_by_products if few else _of_spread_images)(image, output, window)


def _of_spread_images(image: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the kernel: the image convolved with the gradient of the output.

    Image, output gradient and steps are spread to every second column, which changes no number.
    XLA:CPU has two convolution libraries, and spread images use the one that is faster for kernels
    as large as their image. In that convolution the images are the channels, and XLA takes as long
    for one as for eight.
    """
    pads = [
        (before, reach + moved + 1 - length - before)
        for length, before, reach, moved in _extents(image, output, window)
    ]
    (rows, (left, right)), (down, along) = pads, window.dilation
    return lax.conv_general_dilated(
        image.transpose(3, 1, 2, 0),
        output.transpose(1, 2, 0, 3),
        (down, 2 * along),
        (rows, (2 * left, 2 * right)),
        lhs_dilation=(1, 2),
        rhs_dilation=(window.strides[0], 2 * window.strides[1]),
        dimension_numbers=LAYOUT,
    ).transpose(1, 2, 0, 3)


def _by_products(image: jax.Array, output: jax.Array, window: Window) -> jax.Array:
    """Returns the gradient of the kernel from a product over all pixels for each tap."""
    if any(map(any, window.pads)):
        image = materialize_on_cpu(jnp.pad(image, ((0, 0), *window.pads, (0, 0))))
    rows, depth = output.reshape(-1, output.shape[3]), image.shape[3]
    products = [
        lax.dot_general(part.reshape(-1, depth), rows, (((0,), (0,)), ((), ())))
        for _, part in tap_slices(image, output.shape[1:3], window)
    ]
    return jnp.stack(products).reshape(*window.shape, depth, -1)


conv.defvjp(_conv_forward, _conv_backward)
