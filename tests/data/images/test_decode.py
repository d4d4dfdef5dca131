"""Right values of every kind of image, or one line; nothing of a stranger's file is run."""

import ast
import struct
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

import jaxcnn
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.data.images.decode import ENDINGS, FORMATS
from jaxcnn.data.images.transforms import Cropper, WholeImage
from tests import hostile
from tests.hostile import encode

GREY = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
FRACTION = (np.arange(64, dtype=np.float32) / 63).reshape(8, 8)


def tiff(values, bits, *, sample=1, photometric=1, order="<"):
    """Returns an uncompressed grey TIFF; `values` are its bytes."""
    tags = [
        (256, 3, 8),  # width
        (257, 3, 8),
        (258, 3, bits),
        (259, 3, 1),  # not compressed
        (262, 3, photometric),
        (273, 4, 8),  # where the pixels are
        (277, 3, 1),
        (278, 3, 8),
        (279, 4, len(values)),
        (339, 3, sample),
    ]
    data = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(values))
    data += values + struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", value)
        data += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    return data + bytes(4)


def images():
    """Yields a name, a file and the grey values that it shows."""
    rgb = PIL.Image.fromarray(np.dstack([GREY] * 3))
    alpha = PIL.Image.fromarray(np.full((8, 8), 90, np.uint8))
    palette = PIL.Image.fromarray(GREY).convert("P")
    wide = (GREY.astype(np.uint16) * 257).astype("<u2")
    yield "grey png", encode(GREY), GREY
    yield "grey with alpha", encode(PIL.Image.merge("LA", [PIL.Image.fromarray(GREY), alpha])), GREY
    yield "rgb with alpha", encode(PIL.Image.merge("RGBA", [*rgb.split(), alpha])), GREY
    yield "palette", encode(palette), GREY
    yield "palette, one clear", encode(palette, transparency=3), GREY
    yield "palette, shades", encode(palette, transparency=bytes(range(256))), GREY
    yield "gif", encode(palette, "GIF"), GREY
    yield "gif, clear", encode(palette, "GIF", transparency=0), GREY
    still = [palette, palette.point(lambda value: 255 - value)]
    yield "animated gif", encode(still[0], "GIF", save_all=True, append_images=still[1:]), GREY
    yield (
        "animated webp",
        encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)], lossless=True),
        GREY,
    )
    yield "animated png", encode(rgb, save_all=True, append_images=[rgb.rotate(90)]), GREY
    yield "pages", encode(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(90)]), GREY
    yield "one bit", encode(PIL.Image.fromarray(GREY > 127)), np.where(GREY > 127, 255, 0)
    yield "16-bit png", encode(wide), GREY
    yield "16-bit tiff", encode(wide, "TIFF"), GREY
    yield "16-bit tiff, motorola", tiff(wide.astype(">u2").tobytes(), 16, order=">"), GREY
    yield "16-bit tiff, white is zero", tiff(wide.tobytes(), 16, photometric=0), 255 - GREY
    yield "8-bit tiff, white is zero", tiff(GREY.tobytes(), 8, photometric=0), 255 - GREY
    twelve = np.round(GREY / 255 * 4095).astype(int).reshape(-1, 2)
    packed = [(a >> 4, (a & 15) << 4 | b >> 8, b & 255) for a, b in twelve.tolist()]
    yield "12-bit tiff", tiff(np.array(packed, np.uint8).tobytes(), 12), GREY
    yield "16-bit pgm", b"P5 8 8 65535\n" + wide.astype(">u2").tobytes(), GREY
    yield "12-bit pgm", b"P5 8 8 4095\n" + twelve.astype(">u2").tobytes(), GREY
    yield "floating point", encode(FRACTION, "TIFF"), np.round(FRACTION * 255)
    yield (
        "floating point, motorola",
        tiff(FRACTION.astype(">f4").tobytes(), 32, sample=3, order=">"),
        np.round(FRACTION * 255),
    )
    yield (
        "floating point, white is zero",
        tiff(FRACTION.tobytes(), 32, sample=3, photometric=0),
        np.round(255 - FRACTION * 255),
    )
    yield "pfm", b"Pf\n8 8\n-1.0\n" + FRACTION[::-1].tobytes(), np.round(FRACTION * 255)
    yield "cmyk tiff", encode(rgb.convert("CMYK"), "TIFF"), GREY
    yield "cmyk jpeg", encode(rgb.convert("CMYK"), "JPEG", quality=100), GREY
    yield "black", encode(np.zeros((8, 8), np.float32), "TIFF"), np.zeros((8, 8))


@pytest.mark.parametrize(
    ("data", "shown"), [each[1:] for each in images()], ids=[each[0] for each in images()]
)
def test_any_kind_of_image_has_its_values(data, shown):
    for channels in (1, 3):
        for found in (
            Cropper(8, channels)(data, None, "x"),
            WholeImage(8, channels)(data, None, "x"),
        ):
            assert found.shape == (8, 8, channels)
            assert np.abs(found.astype(int) - shown[..., None]).max() <= 2


REFUSED = {
    "32-bit integers": (tiff(np.arange(64, dtype="<u4").tobytes(), 32), "have 32 bits or a sign"),
    "signed": (tiff(np.arange(64, dtype="<i2").tobytes(), 16, sample=2), "16 bits or a sign"),
    "0 to 255": (encode(255 * FRACTION, "TIFF"), "go from 0 to 255 and not from 0 to 1"),
    "negative": (encode(FRACTION - 1, "TIFF"), "go from -1 to 0 and not"),
    "infinite": (encode(FRACTION + np.float32(np.inf), "TIFF"), "to inf and not"),
    "double": (tiff(FRACTION.astype(np.float64).tobytes(), 64, sample=3), "of a kind that is read"),
}
BAD = {name: (data, ".") for name, data in hostile.bad_images().items()}


@pytest.mark.parametrize(("data", "why"), (REFUSED | BAD).values(), ids=REFUSED | BAD)
def test_what_has_no_known_values_is_refused_in_one_line(data, why, monkeypatch):
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # by another library
    for read in (Cropper(8), Cropper(8, train="random_resized"), WholeImage(8)):
        for rng in (None, np.random.default_rng(0)):
            with pytest.raises(UnreadableImageError, match=why) as info:
                read(data, rng, "x")
            assert str(info.value).isprintable()


def test_postscript_starts_no_program(monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *given, **more: started.append(given))
    monkeypatch.setattr("subprocess.check_call", lambda *given, **more: started.append(given))
    picture = PIL.Image.new("RGB", (8, 8))
    for kind in ("EPS", "PDF", "TGA", "ICO", "PCX", "JPEG2000"):
        with pytest.raises(UnreadableImageError, match="not an image of a kind that is read"):
            Cropper(8)(encode(picture, kind), None, "cat.jpg")
    assert not started


@pytest.mark.slow
def test_pillow_opens_files_by_a_list_of_formats_alone():
    calls = [
        node
        for file in Path(jaxcnn.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    ]
    (call,) = calls
    assert [word.arg for word in call.keywords] == ["formats"]
    PIL.Image.init()
    assert set(FORMATS) <= set(PIL.Image.OPEN)
    assert {PIL.Image.registered_extensions()[ending] for ending in ENDINGS} == set(FORMATS)


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (5, 60_000)])
def test_an_image_of_any_shape_gives_its_crops(size):
    data = encode(PIL.Image.new("L", size, 90))
    for cropper in (
        Cropper(8, 3, "random_resized", "center"),
        Cropper(8, 3, "scale_jitter", "resize", scale_range=(8, 12)),
    ):
        for rng in (None, np.random.default_rng(0)):
            found = cropper(data, rng, "x")
            assert found.shape == (8, 8, 3)
            assert (found == 90).all()
