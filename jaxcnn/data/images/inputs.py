"""Crops whatever a user calls an image: a path, bytes, a Pillow image or an array."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.decode import IMAGE_BYTES
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import UserError, reason
from jaxcnn.io import paths
from jaxcnn.io.safe_files import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    # uint8 arrays have the shape [H, W, C] or [N, H, W, C]; bytes are the content of an image file.
    OneImage = str | os.PathLike[str] | bytes | Image | np.ndarray | jax.Array
    Images = OneImage | Sequence[OneImage]


def crop_images(images: "Images", cropper: Cropper) -> np.ndarray:
    """Returns images cropped as in evaluation, uint8 [N, H, W, C].

    Args:
      images: a path, the bytes of a file, a Pillow image, a uint8 array [H, W, C] or [N, H, W, C]
        with C 1 or 3, or a list of these.
      cropper: crops and resizes one image.

    Raises:
      UserError: if an image cannot be read, or an array has another dtype or shape.
    """
    if isinstance(images, (list, tuple)):
        if not images:
            raise UserError("there are no images in the list: give one or more")
        return np.concatenate([crop_images(image, cropper) for image in images])
    if isinstance(images, (np.ndarray, jax.Array)):
        return _crop_arrays(np.asarray(images), cropper)
    return _crop_one(images, cropper)[None]


def _crop_arrays(images: np.ndarray, cropper: Cropper) -> np.ndarray:
    batch = images[None] if images.ndim == 3 else images
    if (
        batch.dtype != np.uint8
        or batch.ndim != 4
        or batch.shape[-1] not in (1, 3)
        or not len(batch)
    ):
        raise UserError(
            f"images are {images.dtype} {list(images.shape)}: give pixels from 0 to 255, uint8"
            " [H, W, C] or [N, H, W, C], C being 1 or 3"
        )
    return np.stack([_crop_one(pixels, cropper) for pixels in batch])


def _crop_one(image: Any, cropper: Cropper) -> np.ndarray:
    """Returns a path, bytes, a Pillow image or pixels [H, W, C] as uint8 [size, size, channels]."""
    import PIL.Image

    name = "the image"
    try:
        if isinstance(image, (str, os.PathLike)):
            name = os.fspath(image)
            return cropper(read_bytes(Path(paths.expand(name)), IMAGE_BYTES), None, name)
        if isinstance(image, bytes):
            return cropper(image, None, name)
        if isinstance(image, np.ndarray):
            image = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        if isinstance(image, PIL.Image.Image):
            return cropper.crop(image, None, name)
    except UnreadableImageError as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    except OSError as error:
        raise UserError(f"{name} cannot be read: {reason(error)}") from error
    raise UserError(
        f"{type(image).__name__} is no image: give a path, the bytes of a file, a Pillow image, a"
        " uint8 array, or a list of these"
    )
