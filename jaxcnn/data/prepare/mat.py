"""Reads MATLAB files of version 5 with limits, because SciPy allocates any declared size.

A file is a header of 128 bytes and elements: type, number of bytes, content. A compressed element
holds a matrix, which is also an element: flags with its class, dimensions, name, and values or
nested matrices. https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import math
import struct
import zlib
from typing import IO, Any, NamedTuple

import numpy as np

HEADER = 128
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR, LAST_NUMBER = 1, 2, 4, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
NUMBERS[13] = "u8"
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
DEEPEST = 8  # nesting depth of matrices


class Element(NamedTuple):
    """Type, content, and offset of the next element in the data."""

    kind: int
    content: memoryview
    after: int


def read_mat(file: IO[bytes], limit: int) -> dict[str, Any]:
    """Returns the matrices of a file by name.

    Numbers are arrays that share the memory of the file, a row of characters is a string, cells are
    a list, and a structure array is a list of dictionaries.

    Args:
      file: the file, positioned at its beginning.
      limit: largest total size of all decompressed matrices in bytes.

    Raises:
      ValueError: if the file has another format, is damaged or exceeds `limit`, or a matrix is
        complex, sparse or holds objects.
    """
    header = file.read(HEADER)
    if header[126:128] not in (b"IM", b"MI") or b"\1" not in header[124:126]:
        raise ValueError("it is no MATLAB file of version 5 to 7")
    order = "<" if header[126:128] == b"IM" else ">"
    found: dict[str, Any] = {}
    while tag := file.read(8):
        if len(tag) < 8:
            raise ValueError("it ends within an element")
        kind, size = struct.unpack(f"{order}II", tag)
        if size > limit + limit // 100 + 1024:  # compressed data may be slightly longer
            raise ValueError(f"it has a matrix of {size:,} bytes, more than the {limit:,} expected")
        data = file.read(size)
        if len(data) < size:
            raise ValueError("it ends within an element")
        if kind == COMPRESSED:
            data = _decompressed(data, limit)
            kind, content, _ = _element(memoryview(data), 0, order)
        else:
            content = memoryview(data)
        limit -= len(data)
        if kind != MATRIX or limit < 0:
            raise ValueError("it has more matrices than expected, or an element that is none")
        try:
            name, value = _matrix(content, order, 0)
        except struct.error as error:
            raise ValueError(f"a matrix is damaged ({error})") from None
        found[name] = value
    return found


def _decompressed(data: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"it is damaged ({error})") from None
    if len(plain) > limit:
        raise ValueError(f"its matrices have more than the {limit:,} bytes expected")
    if not stream.eof:
        raise ValueError("a compressed matrix is truncated")
    return plain


def _element(data: memoryview, at: int, order: str) -> Element:
    if len(data) < at + 8:
        raise ValueError("a matrix is truncated")
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # up to four bytes are stored in the tag
        kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start, after = at + 8, at + 8 + size + -size % 8
    if start + size > len(data):
        raise ValueError("an element is longer than its matrix")
    return Element(kind, data[start : start + size], after)


def _matrix(data: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Returns name and value of a matrix with the content `data`."""
    if not data:
        return "", None
    if depth > DEEPEST:
        raise ValueError("its matrices are nested too deep")
    flags = _element(data, 0, order)
    dimensions = _element(data, flags.after, order)
    name = _element(data, dimensions.after, order)
    if len(flags.content) != 8 or len(dimensions.content) % 4:
        raise ValueError("a matrix has no flags or dimensions")
    (bits,) = struct.unpack_from(f"{order}I", flags.content)
    shape = struct.unpack(f"{order}{len(dimensions.content) // 4}i", dimensions.content)
    if min(shape, default=-1) < 0:
        raise ValueError(f"a matrix has shape {shape}")
    kind, label = bits & 0xFF, bytes(name.content).decode("latin-1")
    if bits & 0x800 or kind > LAST_NUMBER:
        raise ValueError(f"matrix {label!r} is complex or of class {kind}")
    if kind in (CELL, STRUCT):
        return label, _nested(data, name.after, order, math.prod(shape), kind == STRUCT, depth)
    values = _element(data, name.after, order)
    if kind == CHAR:
        encoding = ENCODINGS.get(values.kind, "latin-1")
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if order == "<" else "-be"
        return label, bytes(values.content).decode(encoding)
    if values.kind not in NUMBERS or kind < 6:
        raise ValueError(f"matrix {label!r} is of class {kind}, which is not read")
    array = np.frombuffer(values.content, np.dtype(order + NUMBERS[values.kind]))
    if array.size != math.prod(shape):
        raise ValueError(f"matrix {label!r} has shape {shape} and {array.size:,} values")
    return label, array.reshape(shape, order="F")


def _nested(
    data: memoryview, at: int, order: str, count: int, is_struct: bool, depth: int
) -> list[Any]:
    """Returns `count` cells, or structures as dictionaries."""
    fields = [""]
    if is_struct:
        length = _element(data, at, order)
        names = _element(data, length.after, order)
        at = names.after
        (width,) = struct.unpack(f"{order}i", length.content)
        if width < 1 or not len(names.content):
            raise ValueError("a structure has no fields")
        text = bytes(names.content)
        parts = [text[start : start + width] for start in range(0, len(text), width)]
        fields = [part.split(b"\0")[0].decode("latin-1") for part in parts]
    if count * len(fields) * 8 > len(data) - at:  # each has at least 8 bytes
        raise ValueError(f"a matrix of {count:,} parts is truncated")
    rows = []
    for _ in range(count):
        row = {}
        for field in fields:
            part = _element(data, at, order)
            if part.kind != MATRIX:
                raise ValueError("a part of a matrix is no matrix")
            row[field], at = _matrix(part.content, order, depth + 1)[1], part.after
        rows.append(row if is_struct else row[""])
    return rows
