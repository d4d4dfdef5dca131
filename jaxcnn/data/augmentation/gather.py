"""Takes the images of a batch from those that are on the device."""

from typing import Any

import jax
import jax.numpy as jnp

Batch = dict[str, Any]


def gather_images(batch: Batch, images: jax.Array | None) -> Batch:
    """Returns a batch with the images at its indices.

    Args:
      batch: without `image`; rows of index -1 get zeros.
      images: uint8 [n, H, W, C]; None returns the batch as it is.
    """
    if images is None:
        return batch
    index = batch["index"]
    real = (index >= 0).reshape(-1, *(1 for _ in images.shape[1:]))
    return {**batch, "image": jnp.where(real, images[jnp.maximum(index, 0)], 0)}
