"""Images as functions of parameters that are easy to optimise: Fourier coefficients and colours.

Olah, Mordvintsev and Schubert, "Feature Visualization", Distill, 2017, section "Preconditioning and
Parameterization": gradient ascent in a space where natural images are decorrelated takes another
direction of steepest ascent, and the images lose their noise of high frequencies. In space the
decorrelated basis is the Fourier transform with each frequency f scaled by 1/f; in colour it is the
principal axes of the pixels. Both maps are linear and have an inverse here.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Principal axes (columns) of ImageNet's colours and the variances along them, as in AlexNet's
# colour augmentation; Krizhevsky et al., 2012, §4.1, in the numbers of fb.resnet.torch.
_AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
_VARIANCES = (0.2175, 0.0188, 0.0045)


def frequency_scale(height: int, width: int, decay: float = 1.0) -> np.ndarray:
    """Returns the factor of each coefficient of `fourier_to_images`, float64 [H, W//2 + 1].

    It is 1/f to the power of `decay`; the frequency zero counts as the lowest other one. The
    factors are divided by their root mean square over the whole plane, so that coefficients of
    variance 1 make pixels of variance 1.

    Args:
      height: of the images, in pixels.
      width: of the images, in pixels.
      decay: 0 gives all frequencies the same factor.
    """
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    frequencies = np.maximum(np.hypot(down, across), 1 / max(height, width))
    scale = frequencies**-decay
    return (scale / np.sqrt(np.mean(scale**2)))[:, : width // 2 + 1]


def fourier_to_images(
    coefficients: jax.Array, size: tuple[int, int], decay: float = 1.0
) -> jax.Array:
    """Returns the images of scaled Fourier coefficients, [N, H, W, C].

    Args:
      coefficients: [N, H, W//2 + 1, C, 2], real and imaginary parts.
      size: (H, W).
      decay: see `frequency_scale`.
    """
    scale = jnp.asarray(frequency_scale(*size, decay), coefficients.dtype)[None, :, :, None]
    spectrum = scale * jax.lax.complex(coefficients[..., 0], coefficients[..., 1])
    return jnp.fft.irfft2(spectrum, size, axes=(1, 2), norm="ortho")


def images_to_fourier(images: jax.Array, decay: float = 1.0) -> jax.Array:
    """Returns the coefficients from which `fourier_to_images` makes these images.

    Args:
      images: [N, H, W, C].
      decay: see `frequency_scale`.

    Returns:
      [N, H, W//2 + 1, C, 2], real and imaginary parts.
    """
    height, width = images.shape[1:3]
    scale = jnp.asarray(frequency_scale(height, width, decay), images.dtype)[None, :, :, None]
    spectrum = jnp.fft.rfft2(images, axes=(1, 2), norm="ortho") / scale
    return jnp.stack([spectrum.real, spectrum.imag], axis=-1)


def color_matrix(channels: int) -> np.ndarray:
    """Returns the matrix from decorrelated to natural colours, float64 [C, C].

    Its columns are the principal axes of ImageNet's colours, each as long as the standard deviation
    along it, and the longest is 1. For other than three channels it is the identity.
    """
    if channels != 3:
        return np.eye(channels)
    return np.array(_AXES) * np.sqrt(np.array(_VARIANCES) / max(_VARIANCES))


def correlate_colors(images: jax.Array, matrix: np.ndarray | None = None) -> jax.Array:
    """Returns natural colours [..., C] of decorrelated ones.

    Args:
      images: [..., C].
      matrix: [C, C]; None is `color_matrix`.
    """
    matrix = color_matrix(images.shape[-1]) if matrix is None else matrix
    return jnp.matmul(images, jnp.asarray(matrix.T, images.dtype), precision="highest")


def decorrelate_colors(images: jax.Array, matrix: np.ndarray | None = None) -> jax.Array:
    """Returns decorrelated colours [..., C] of natural ones: the inverse of `correlate_colors`."""
    matrix = color_matrix(images.shape[-1]) if matrix is None else matrix
    return correlate_colors(images, np.linalg.inv(matrix))


def warp(images: jax.Array, shifts: jax.Array, scales: jax.Array, angles: jax.Array) -> jax.Array:
    """Returns images turned and enlarged about their centre, then shifted; bilinear.

    Pixels beyond the border are mirrored.

    Args:
      images: [N, H, W, C].
      shifts: [N, 2], pixels downwards and to the right.
      scales: [N], 2 is twice as large.
      angles: [N], radians, anticlockwise.
    """
    height, width = images.shape[1:3]
    down, across = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    centre = (height - 1) / 2, (width - 1) / 2

    def one(image: jax.Array, shift: jax.Array, scale: jax.Array, angle: jax.Array) -> jax.Array:
        y, x = down - centre[0] - shift[0], across - centre[1] - shift[1]
        cosine, sine = jnp.cos(angle) / scale, jnp.sin(angle) / scale
        places = [centre[0] + cosine * y + sine * x, centre[1] + cosine * x - sine * y]
        return _bilinear(image, *places)

    return jax.vmap(one)(images, shifts, scales, angles)


def _bilinear(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Returns the pixels of an image [H, W, C] at places between them: [H', W', C]."""
    top, left = jnp.floor(y), jnp.floor(x)
    result: jax.Array | float = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            weight = (down * across).astype(image.dtype)[..., None]
            result += (
                weight * image[_mirrored(row, image.shape[0]), _mirrored(column, image.shape[1])]
            )
    return jnp.asarray(result)


def _mirrored(places: jax.Array, length: int) -> jax.Array:
    """Returns whole numbers folded into 0 … length - 1, the border pixel repeated."""
    folded = jnp.mod(places.astype(jnp.int32), 2 * length)
    return jnp.minimum(folded, 2 * length - 1 - folded)


def total_variation(images: jax.Array) -> jax.Array:
    """Returns the mean absolute difference of neighbouring pixels, [N].

    Args:
      images: [N, H, W, C].
    """
    down = jnp.abs(jnp.diff(images, axis=1)).sum(axis=(1, 2, 3))
    across = jnp.abs(jnp.diff(images, axis=2)).sum(axis=(1, 2, 3))
    return (down + across) / np.prod(images.shape[1:])
