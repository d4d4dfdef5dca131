"""What a network can say about its input before it fails somewhere deep inside."""

import jax

from jaxcnn.errors import UserError


def check_images(images: jax.Array, smallest: int = 1) -> None:
    """Raises `UserError` unless images are (N, H, W, C) with H and W at least `smallest`.

    Images of 1 or 3 rows with more than 16 columns and channels are taken for (N, C, H, W).
    """
    if images.ndim != 4:
        raise UserError(
            f"images have shape {images.shape}, the network takes (N, H, W, C): "
            "add the axis that is missing, for one image `images[None]`"
        )
    height, width, channels = images.shape[1:]
    if height in (1, 3) and min(width, channels) > 16:
        raise UserError(
            f"images are (N, H, W, C) and these have shape {images.shape}, which looks like"
            " (N, C, H, W): use `images.transpose(0, 2, 3, 1)`"
        )
    if min(height, width) < smallest:
        raise UserError(
            f"images are {height}x{width} and nothing would be left of them in the last stage: "
            f"this network takes {smallest}x{smallest} or larger"
        )
