"""Decodes an encoded image to an upright Pillow image of 8-bit grey or RGB.

Formats are listed one by one, because others start programs (EPS starts Ghostscript) or need large
decoders. Of a file with several images (animated GIF, multi-page TIFF) the first is decoded.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.data.dataset import UnreadableImageError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
)
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF and PPM"
IMAGE_BYTES = 512 << 20  # file size: twice an RGB image at Pillow's limit of 89 million pixels

# Pillow's warnings about damaged tags and about sizes (checked below) would be two lines per file.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Names under which Pillow stores the orientation tag.
_TAGGED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_ORIENTATION = 0x0112  # EXIF's orientation tag
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF


def decode(data: bytes, channels: int) -> "Image":
    """Returns an upright image of mode "L" (1 channel) or "RGB" (3).

    It applies orientation tags and drops transparency. Grey values of 9 to 16 bits are rounded to 8
    bits; floating-point values are scaled from 0 (black) to 1 (white).

    Raises:
      UnreadableImageError: see `open_image`; if truncated, or values have no known range.
    """
    image = open_image(data)
    try:
        turn = orientation(image)
        return upright(convert(image, channels), turn)
    except Exception as error:
        raise UnreadableImageError(reason(error)) from error


def open_image(data: bytes) -> "Image":
    """Reads only the header; pixels are decoded later.

    Raises:
      UnreadableImageError: if the format is not in `FORMATS`, or above Pillow's safety limit.
    """
    import PIL.Image
    import PIL.ImageFile

    PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False  # otherwise the missing part is grey
    try:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # decoders raise a dozen types for damaged headers
        raise UnreadableImageError(reason(error)) from error
    # Pillow warns at this limit and raises at twice the limit. We compare again to raise at the
    # limit, because `warnings.catch_warnings` is not thread-safe.
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise UnreadableImageError(
            f"{image.width}x{image.height} pixels exceed Pillow's safety limit of {limit}"
        )
    return image


def orientation(image: "Image") -> int:
    """Returns the orientation of an image, 1 (upright) to 8, by its EXIF tag or XMP.

    It is an argument of `upright`; from 5 on, width and height are swapped. Returns 1 if the tag is
    damaged or has another value, and for TIFF, which Pillow itself rotates.

    Raises:
      Exception: from Pillow, for a damaged PNG, whose tag may follow the pixels.
    """
    if image.format not in ("JPEG", "MPO", "PNG", "WEBP"):
        return 1
    if image.format == "PNG":
        image.load()
    if not _TAGGED & image.info.keys():
        return 1
    try:
        turn = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged tag: as stored, like viewers
        return 1
    return turn if 1 <= turn <= 8 else 1


def upright(image: "Image", turn: int) -> "Image":
    """Returns a decoded image rotated according to `orientation`."""
    if turn == 1:
        return image
    from PIL.Image import Transpose

    return image.transpose(
        {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }[turn]
    )


def convert(image: "Image", channels: int) -> "Image":
    """Decodes an image and converts any mode to 8-bit grey or RGB.

    Raises:
      ValueError: if values have no known range. Pillow raises others for damaged pixels.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "F" or image.mode[0] == "I":  # convert() would clip these values
        image = _from_numbers(image)
    elif image.mode == "P":  # via RGBA, because a palette with transparency warns
        image = image.convert("RGBA")
    if image.mode != mode:
        return image.convert(mode)
    image.load()
    return image


def _from_numbers(image: "Image") -> "Image":
    """Converts grey values of 16 bits or floating point to 8 bits."""
    import PIL.Image

    of_tiff = getattr(image, "tag_v2", None)
    bits = 16 if of_tiff is None else of_tiff.get(_BITS, (16,))[0]
    white_is_zero = of_tiff is not None and of_tiff.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if of_tiff is not None and image.mode == "I":
        raise ValueError(
            f"its values have {bits} bits or a sign, of no known range: convert it to 8 or 16 bits"
            " without sign"
        )
    values = np.asarray(image).astype(np.float64)
    if image.mode != "F":
        values = values / (2**bits - 1)
    low, high = values.min(), values.max()
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also true for NaN
        raise ValueError(
            f"its values go from {low:.4g} to {high:.4g} and not from 0 to 1: convert it to 8 bits"
        )
    if white_is_zero:  # Pillow ignores this inversion
        values = 1 - values
    return PIL.Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8))


def reason(error: Any) -> str:
    """Returns the reason why an image cannot be read, in one line."""
    text = " ".join(str(error).split())
    # Pillow's message names the memory buffer instead of the file.
    if "cannot identify image file" in text:
        return f"not an image of a kind that is read ({READ})"
    return f"{text or type(error).__name__}"
