"""Checks encoded photographs by decoding each once; the files stay unchanged."""

import io

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.decode import decode, open_image, reason
from jaxcnn.data.prepare.original import BadRecordError

JPEG_QUALITY = 100  # the quality that TFDS uses for conversion


def check(data: bytes) -> None:
    """Raises `BadRecordError` for a damaged or truncated image."""
    _decode(data)


def as_jpeg(data: bytes) -> bytes:
    """Returns a grey or RGB JPEG unchanged, and any other photograph as an RGB JPEG.

    ImageNet has 22 JPEGs in CMYK and a PNG among its JPEGs.

    Raises:
      BadRecordError: if the image is damaged or truncated.
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
    """Returns format and mode; decodes a JPEG at 1/8 size, which still reads all of it."""
    try:
        image = open_image(data)
        found = image.format, image.mode
        if image.format == "JPEG":
            image.draft(image.mode, (image.width // 8 or 1, image.height // 8 or 1))
            image.load()
        else:
            decode(data, channels=3)  # refuses unknown value ranges, as in training
    except UnreadableImageError as error:
        raise BadRecordError(str(error)) from error
    except Exception as error:  # decoders raise a dozen types for damaged files
        raise BadRecordError(reason(error)) from error
    return found
