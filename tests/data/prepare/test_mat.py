"""MATLAB files are read as SciPy writes them, or refused without taking memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io

from jaxcnn.data.prepare.mat import read_mat

LIMIT = 1 << 20


def saved(values, **options):
    stream = io.BytesIO()
    scipy.io.savemat(stream, values, **options)
    return stream.getvalue()


def read(data, limit=LIMIT):
    return read_mat(io.BytesIO(data), limit)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"])
def test_numbers_are_those_that_scipy_wrote(packed, kind):
    rng = np.random.default_rng(0)
    values = {
        "X": rng.integers(0, 100, (3, 2, 5)).astype(kind),
        "y": np.array([[7]], kind),
        "none": np.zeros((0, 3), kind),
    }
    found = read(saved(values, do_compression=packed))
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_texts_cells_and_structures():
    cells = np.empty((2, 1), object)
    cells[:, 0] = "one", np.arange(3.0)
    rows = np.zeros((2, 1), [("name", "O"), ("value", "O")])
    rows[0, 0], rows[1, 0] = ("n01", 1), ("a longer name é", np.arange(4.0))
    found = read(saved({"text": "hello", "cells": cells, "rows": rows}, do_compression=True))
    assert found["text"] == "hello"
    assert found["cells"][0] == "one"
    assert [row["name"] for row in found["rows"]] == ["n01", "a longer name é"]
    np.testing.assert_array_equal(found["rows"][1]["value"].ravel(), np.arange(4.0))


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind=9, shape=(2, 2), name=b"X", values=b"\0" * 4, flags=0):
    return element(
        14,
        element(6, struct.pack("<II", kind | flags, 0))
        + element(5, struct.pack(f"<{len(shape)}i", *shape))
        + element(1, name)
        + (element(2, values) if kind not in (1, 2) else values),
    )


HEADER = b"MATLAB".ljust(124) + b"\0\1IM"
NESTED = matrix(1, (1, 1), b"", b"")
for _ in range(50):
    NESTED = matrix(1, (1, 1), b"", NESTED)
BAD = {
    "empty": b"",
    "version 4": saved({"X": np.eye(3)}, format="4"),
    "version 7.3": b"MATLAB".ljust(124) + b"\0\2IM" + b"\x89HDF",
    "a bomb": HEADER + element(15, zlib.compress(bytes(50 << 20), 1)),
    "a shape of 2**62": HEADER + matrix(shape=(2**31 - 1, 2**31 - 1)),
    "a negative shape": HEADER + matrix(shape=(-2, -2)),
    "2**31 cells": HEADER + matrix(1, (2**31 - 1, 1), values=b""),
    "no fields": HEADER + matrix(2, (2**31 - 1, 1), values=element(5, bytes(4)) + element(1, b"")),
    "fields without width": HEADER
    + matrix(2, (3, 1), values=element(5, bytes(4)) + element(1, b"abcd")),
    "nested": HEADER + NESTED,
    "complex": HEADER + matrix(flags=0x800),
    "an object": HEADER + matrix(3),
    "4 GB by its tag": HEADER + struct.pack("<II", 14, 2**32 - 1) + bytes(64),
    "an element of 4 GB": HEADER + element(14, struct.pack("<II", 6, 2**32 - 1) + bytes(64)),
    "no matrix": HEADER + element(9, bytes(8)),
    "cut": (HEADER + matrix())[:-9],
    "compressed, cut": HEADER + element(15, zlib.compress(matrix())[:-6]),
    "compressed, damaged": HEADER + element(15, b"x" * 40),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_not_right_is_refused_and_takes_no_memory(data):
    assert read(HEADER + matrix())["X"].tolist() == [[0, 0], [0, 0]]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as info:
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()
    assert str(info.value).isprintable()


def test_damage_anywhere_is_a_value_error_or_harmless():
    rng = np.random.default_rng(0)
    rows = np.zeros((3, 1), [("name", "O"), ("value", "O")])
    for number in range(3):
        rows[number, 0] = f"n{number}", np.arange(number + 1.0)
    whole = saved({"rows": rows, "X": np.arange(6, dtype=np.uint8), "t": "text"})
    refused = 0
    for trial in range(1500):
        data = bytearray(whole)
        if trial % 4 == 0:
            del data[int(rng.integers(len(data))) :]
        for _ in range(1 + trial % 3):
            if data:
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
        try:
            read(bytes(data))
        except ValueError:
            refused += 1
    assert 500 < refused < 1500
