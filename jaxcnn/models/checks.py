"""What a network can say about its input before it fails somewhere deep inside."""

import jax

from jaxcnn.errors import UserError


def check_images(images: jax.Array, smallest: int = 1) -> None:
    """Raises `UserError` unless images are (N, H, W, C) with H and W at least `smallest`."""
    if images.ndim != 4:
        raise UserError(
            f"images have shape {images.shape}, the network takes (N, H, W, C): "
            "add the axis that is missing, for one image `images[None]`"
        )
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(
            f"images are {height}x{width} and nothing would be left of them in the last stage: "
            f"this network takes {smallest}x{smallest} or larger"
        )
