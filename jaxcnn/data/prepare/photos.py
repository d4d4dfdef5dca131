"""Encoded photographs: every one is decoded once to see that it is whole, and kept as it is."""

import io

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.decode import decode, open_image, reason
from jaxcnn.data.prepare.original import BadRecordError

JPEG_QUALITY = 100  # as TFDS writes those that it converts


def check(data: bytes) -> None:
    """Raises `BadRecordError` for a damaged or truncated image."""
    _decode(data)


def as_jpeg(data: bytes) -> bytes:
    """Returns a photograph as it is if it is a grey or RGB JPEG, and as an RGB JPEG otherwise.

    ImageNet has 22 JPEGs in CMYK and a PNG among its JPEGs.

    Raises:
      BadRecordError: it is not a whole image.
    """
    image_format, mode = _decode(data)
    if image_format == "JPEG" and mode in ("L", "RGB"):
        return data
    stream = io.BytesIO()
    try:
        decode(data, channels=3).save(stream, "JPEG", quality=JPEG_QUALITY)
    except UnreadableImageError as error:
        raise BadRecordError(str(error)) from error
    return stream.getvalue()


def _decode(data: bytes) -> tuple[str | None, str]:
    """Returns format and mode; a JPEG is decoded at an eighth, which reads all of it."""
    try:
        image = open_image(data)
        found = image.format, image.mode
        if image.format == "JPEG":
            image.draft(image.mode, (image.width // 8 or 1, image.height // 8 or 1))
            image.load()
        else:
            decode(data, channels=3)  # as in training, which refuses values of no known range
    except UnreadableImageError as error:
        raise BadRecordError(str(error)) from error
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged files
        raise BadRecordError(reason(error)) from error
    return found
