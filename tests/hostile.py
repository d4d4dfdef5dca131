"""Files as strangers leave them, made anew from a seed: what a reader must refuse in one line."""

import functools
import io
import os
import socket
import struct
import zipfile

import numpy as np
import PIL.Image

# Each becomes a folder, a file or a workdir in tests; none contains a slash or a zero byte.
NAMES = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "line\nbreak",
    "carriage\rreturn",
    "tab\tinside",
    "=1+1",
    "@sum",
    "-2",
    "+3",
    " in front",
    "behind ",
    "\u202eturned",
    "\u00e9",
    "e\u0301",
    "$x^2$",
    "<b>",
    os.fsdecode(b"\xff\xfe"),
    "n" * 200,
)


def encode(pixels, kind="PNG", **options):
    """Returns an image file; `pixels` is an array or a Pillow image."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    image.save(stream, kind, **options)
    return stream.getvalue()


def no_files(folder):
    """Makes what is named like an image and is no regular file; returns (path, what it is)."""
    made = []
    os.mkfifo(folder / "fifo.jpg")
    made.append((folder / "fifo.jpg", "a FIFO"))
    (folder / "link.jpg").symlink_to(folder.resolve() / "fifo.jpg")
    made.append((folder / "link.jpg", "a FIFO"))
    (folder / "zero.jpg").symlink_to("/dev/zero")
    made.append((folder / "zero.jpg", "a device"))
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket may have 107 bytes only
        try:
            one.bind("socket.jpg")
        finally:
            os.chdir(here)
    made.append((folder / "socket.jpg", "a socket"))
    return made


def bad_images(seed=0):
    """Returns {what is wrong: bytes} of files that no image can be read of."""
    rng = np.random.default_rng(seed)
    whole = encode(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), "JPEG")
    png = encode(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    wide = encode(PIL.Image.new("1", (8, 8)))
    wide = wide[:16] + struct.pack(">II", 60_000, 60_000) + wide[24:]
    fraction = encode(PIL.Image.fromarray(np.full((8, 8), 7.5, np.float32)), "TIFF")
    return {
        "empty": b"",
        "text": b"<html>not found</html>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "pdf": b"%PDF-1.4\n",
        "truncated jpeg": whole[: len(whole) // 2],
        "truncated png": png[: len(png) // 2],
        "claims 60000x60000": wide,
        "floating point beyond 1": fraction,
        "not a number": encode(PIL.Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
        "random": rng.bytes(2000),
        "random after a jpeg's beginning": whole[:4] + rng.bytes(2000),
        "random after a png's beginning": png[:40] + rng.bytes(2000),
    }


def npz(arrays, compression=zipfile.ZIP_DEFLATED):
    """Returns an .npz file of (name, bytes of a .npy file) pairs."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in arrays:
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def npy(shape, dtype="<f4", data=None, fortran=False):
    """Returns a .npy file whose header says what it is told to."""
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + (b"\0" * 16 if data is None else data)


@functools.cache
def bad_npz(seed=0):
    """Returns {what is wrong: bytes} of files named .npz."""
    rng = np.random.default_rng(seed)
    good = npy((4,), data=rng.bytes(16))
    whole = npz([("a", good), ("b", good)])
    flipped = bytearray(whole)
    flipped[int(rng.integers(30, 60))] ^= 0x10
    encrypted = bytearray(npz([("a", good)], zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(mark) + place] |= 1
    objects = npy((1,), "|O", b"\x80\x04N.")
    return {
        "empty": b"",
        "no archive": rng.bytes(300),
        "truncated": whole[: len(whole) * 2 // 3],
        "flipped": bytes(flipped),
        "expands to 100 MB": npz([("a", npy((25_000_000,), data=b"\0" * 100_000_000))]),
        "header of 184 GB": npz([("a", npy((46_000_000_000,)))]),
        "header of 0 bytes": npz([("a", npy((0,)))]),
        "negative": npz([("a", npy((-4,)))]),
        "objects": npz([("a", objects)]),
        "encrypted": bytes(encrypted),
        "bzip2": npz([("a", good)], zipfile.ZIP_BZIP2),
        "lzma": npz([("a", good)], zipfile.ZIP_LZMA),
        "not an array": npz([("a", b"text")]),
        "longer than its array": npz([("a", good + b"more")]),
        "wide text": npz([("a", npy((), "<U500000000"))]),
    }


def scatter(folder, seed=0):
    """Fills a folder with all of the above that is named like an image; returns the bad files."""
    folder.mkdir(parents=True, exist_ok=True)
    bad = [path for path, _ in no_files(folder)]
    for number, data in enumerate(bad_images(seed).values()):
        path = folder / f"bad{number}.jpg"
        path.write_bytes(data)
        bad.append(path)
    (folder / "folder.jpg").mkdir()
    (folder / "self").symlink_to(folder.resolve())
    (folder / "nothing.png").symlink_to(folder / "gone")
    (folder / "notes.txt").write_text("no image")
    return bad
