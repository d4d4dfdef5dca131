"""Shortcuts without parameters for units that change the shape: option A of the papers."""

import jax
import jax.numpy as jnp

from jaxcnn.ops.pool import avg_pool


def subsample_and_pad(x: jax.Array, features: int, strides: int) -> jax.Array:
    """Returns shortcut A: every `strides`-th pixel, zero channels appended up to `features`."""
    for axis in (1, 2):  # an index would become a gather for a symbolic number of images
        x = jax.lax.slice_in_dim(x, 0, None, strides, axis)
    return _append_channels(x, features)


def average_and_pad(x: jax.Array, features: int, strides: int) -> jax.Array:
    """Returns shortcut A as in some code: averages instead of every `strides`-th pixel."""
    window = (strides, strides)
    averages = avg_pool(x, window, window, ceil_mode=True).astype(x.dtype)
    return _append_channels(averages, features)


def _append_channels(x: jax.Array, features: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, features - x.shape[-1])))
