"""A weights file is read to the bit, or refused in one line; nothing in it is ever run."""

import errno
import json
import pickle
import random
import sys
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.interop import read_weights, write_weights
from tests import hostile

WEIGHTS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "half": np.array([1.5, -0.0, 65504], np.float16),
    "counter": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "mask": np.array([True, False]),
    "file": np.array([np.nan, np.inf]),  # a name that numpy.savez cannot take
}
BFLOAT16 = {"brain": np.array([1, -2.5, 3e38], jnp.bfloat16)}


def assert_same(here, there):
    assert here.keys() == there.keys()
    for key, array in here.items():
        assert type(array) is np.ndarray
        assert (array.dtype, array.shape) == (there[key].dtype, there[key].shape)
        assert array.tobytes() == there[key].tobytes()


def refused(path, *parts):
    """Reading it is refused in one line that names the file and these parts."""
    with pytest.raises(UserError) as info:
        read_weights(path)
    message = str(info.value)
    assert message.isprintable()
    for part in (str(path), *parts):
        assert part in message
    return message


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_written_is_read(tmp_path, suffix):
    weights = WEIGHTS | (BFLOAT16 if suffix == ".safetensors" else {})
    write_weights(weights, tmp_path / f"x{suffix}")
    assert_same(read_weights(tmp_path / f"x{suffix}"), weights)
    write_weights(BFLOAT16 if suffix == ".safetensors" else {}, str(tmp_path / f"x{suffix}"))
    assert len(read_weights(str(tmp_path / f"x{suffix}"))) == (suffix == ".safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_any_layout_in_memory_is_written(tmp_path, suffix):
    kernel = WEIGHTS["conv.weight"]
    given = {
        "transposed": kernel.T,
        "sliced": kernel[::-1, ::2],
        "big endian": kernel.astype(">f4"),
        "jax": jnp.asarray(kernel),
    }
    write_weights(given, tmp_path / f"x{suffix}")
    expected = {key: np.array(value, np.float32, order="C") for key, value in given.items()}
    assert_same(read_weights(tmp_path / f"x{suffix}"), expected)


def test_numpy_reads_what_is_written_and_the_reverse(tmp_path):
    write_weights(WEIGHTS, tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as file:
        assert_same(dict(file), WEIGHTS)
    theirs = {key: value for key, value in WEIGHTS.items() if key != "file"}
    np.savez_compressed(tmp_path / "theirs.npz", **theirs)
    assert_same(read_weights(tmp_path / "theirs.npz"), theirs)


def test_bfloat16_goes_to_safetensors_alone(tmp_path):
    with pytest.raises(UserError, match=r"brain: \.npz has no bfloat16; write \.safetensors"):
        write_weights(BFLOAT16, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


# What is no weights file ------------------------------------------------------------------------


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


LIES = {
    "nothing": b"",
    "endless header": (2**63).to_bytes(8, "little") + b"{}",
    "no header": b"\x08\0\0\0\0\0\0\0{}",
    "no JSON": safetensors(b"{nonsense"),
    "a list": safetensors([1]),
    "nested too deep": safetensors(b'{"a":' * 5000),
    "larger than its data": safetensors({"a": entry(shape=(2,))}, b"1234"),
    "beyond the end": safetensors({"a": entry(shape=(2,), offsets=(0, 8))}, b"1234"),
    "backwards": safetensors({"a": entry(offsets=(4, 0))}, b"1234"),
    "overlapping": safetensors({"a": entry(), "b": entry()}, b"1234"),
    "data left over": safetensors({"a": entry()}, b"12345678"),
    "overflow": safetensors({"a": entry(shape=(2**40, 2**40))}, b"1234"),
    "absurd but empty": safetensors({"a": entry(shape=(0, 2**63), offsets=(0, 0))}),
    "negative": safetensors({"a": entry(shape=(-1,))}, b"1234"),
    "unknown type": safetensors({"a": entry(dtype="F99")}, b"1234"),
    "type without numbers in NumPy": safetensors({"a": entry("F8_E4M3", (4,))}, b"1234"),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_a_lying_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path / "x.safetensors")


def test_what_is_not_there_or_not_for_us_is_named_with_the_fix(tmp_path):
    refused(tmp_path / "x.npz", "there is no weights file")
    refused(tmp_path, "is a directory")
    (tmp_path / "x.weights").touch()
    refused(tmp_path / "x.weights", ".safetensors, .npz, .pth")
    (tmp_path / "x.npz").write_bytes(b"PK")
    refused(tmp_path / "x.npz", "damaged")
    np.savez(tmp_path / "text.npz", names=np.array(["a"]))
    refused(tmp_path / "text.npz", "names is not an array of numbers")
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "single.npz")
    refused(tmp_path / "single.npz")


def test_an_npz_file_that_claims_more_than_it_has_is_refused(tmp_path):
    write_weights(WEIGHTS, tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        array = archive.read("conv.weight.npy")
    for name, content in {
        "long": array + b"more",
        "short": array[:-4],
        "huge": array.replace(b"(2, 3, 2, 2)", b"(2, 9**9, 2)"),
    }.items():
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("a.npy", content)
        refused(tmp_path / f"{name}.npz")


def outcome(path):
    """What reading gives: the arrays, or None if it is refused in one line."""
    try:
        return read_weights(path)
    except UserError as error:
        message = str(error)
    assert message.isprintable()
    return None


def damaged(content, chance):
    """The content cut short, or with a few bits flipped."""
    if chance.random() < 0.3:
        return content[: chance.randrange(len(content))]
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 3))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def test_a_damaged_safetensors_file_is_refused_or_read_as_it_stands(tmp_path):
    """It has no checksum: a flipped bit of the data cannot be seen."""
    path, chance, read = tmp_path / "x.safetensors", random.Random(0), 0  # noqa: S311
    write_weights(WEIGHTS | BFLOAT16, path)
    content = path.read_bytes()
    for _ in range(400):
        path.write_bytes(damaged(content, chance))
        weights = outcome(path)
        if weights is None:
            continue
        read += 1
        raw = path.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        header.pop("__metadata__", None)
        assert weights.keys() == header.keys()
        for key, said in header.items():
            first, last = (start + offset for offset in said["data_offsets"])
            assert weights[key].shape == tuple(said["shape"])
            assert weights[key].tobytes() == raw[first:last]
    assert 0 < read < 200


def test_a_damaged_npz_file_is_refused_or_read_right(tmp_path):
    """Its directory has no checksum: an array may be lost, which who takes them notices."""
    path, chance, read = tmp_path / "x.npz", random.Random(0), 0  # noqa: S311
    write_weights(WEIGHTS, path)
    content = path.read_bytes()
    for _ in range(400):
        path.write_bytes(damaged(content, chance))
        if (weights := outcome(path)) is not None:
            read += 1
            assert_same(weights, {key: WEIGHTS[key] for key in weights})
    assert 0 < read < 200


# Pickle -----------------------------------------------------------------------------------------


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return Path.touch, (self.trap,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".npz", ".safetensors"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_is_never_run(tmp_path, suffix, protocol):
    trap, path = tmp_path / "trap", tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps({"fc.weight": Malicious(trap)}, protocol))
    message = refused(path)
    assert not trap.exists()
    assert "weights_only" not in message
    assert "allow_pickle" not in message


def test_objects_in_an_npz_file_are_never_run(tmp_path):
    trap = tmp_path / "trap"
    np.savez(tmp_path / "x.npz", a=np.array([Malicious(trap)], object))
    refused(tmp_path / "x.npz", "Object arrays")
    assert not trap.exists()


def test_without_a_package_the_way_to_it_is_named(tmp_path, monkeypatch):
    write_weights(WEIGHTS, tmp_path / "x.safetensors")
    trap = tmp_path / "trap"
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Malicious(trap)))
    for package in ("torch", "safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, package, None)
    refused(tmp_path / "x.pth", 'needs torch: pip install "jaxcnn[torch]"', ".safetensors")
    assert not trap.exists()
    refused(tmp_path / "x.safetensors", 'needs safetensors: pip install "jaxcnn[torch]"')
    with pytest.raises(UserError, match=r'pip install "jaxcnn\[torch\]"'):
        write_weights(WEIGHTS, tmp_path / "y.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pth", "x.safetensors"]


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    """Its `weights_only` could be deceived."""
    old = type(sys)("torch")
    old.__version__ = "2.5.1+cpu"
    monkeypatch.setitem(sys.modules, "torch", old)
    (tmp_path / "x.pth").write_bytes(b"anything")
    refused(tmp_path / "x.pth", "torch 2.5.1", "torch>=2.6")


def test_torch_files_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {key: torch.tensor(value) for key, value in WEIGHTS.items()}
    tensors["half"] = torch.nn.Parameter(tensors["half"])
    tensors["transposed"] = tensors["conv.weight"].permute(2, 3, 1, 0)
    tensors["brain"] = torch.tensor([1, -2.5, 3e38], dtype=torch.bfloat16)
    expected = WEIGHTS | BFLOAT16 | {"transposed": WEIGHTS["conv.weight"].transpose(2, 3, 1, 0)}
    parallel = {f"module.{key}": value for key, value in tensors.items()}
    for name, content in {
        "plain.pth": tensors,
        "parallel.pt": parallel,
        "checkpoint.bin": {"epoch": 3, "state_dict": parallel},
        "training.pth": {"model": tensors, "optimizer": {"lr": 0.1}},
    }.items():
        torch.save(content, tmp_path / name)
        assert_same(read_weights(tmp_path / name), expected)
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(read_weights(tmp_path / "old.pth"), expected)

    for name, content, said in (
        ("list", [1], "a list instead of a state_dict"),
        ("epoch", {"epoch": 3, "weight": tensors["half"]}, "epoch is a int"),
        ("trap", {"a": Malicious(tmp_path / "trap")}, "not run"),
    ):
        torch.save(content, tmp_path / f"{name}.pth")
        refused(tmp_path / f"{name}.pth", said)
    assert not (tmp_path / "trap").exists()


# Whole or not at all ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, suffix, failure):
    path = tmp_path / f"x{suffix}"
    write_weights({"old": np.ones(3)}, path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise failure

    monkeypatch.setattr("safetensors.numpy.save", fail)
    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises((UserError, KeyboardInterrupt), match=r"No space left|^$"):
        write_weights(WEIGHTS, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    for path, weights, said in (
        (tmp_path / "x.pth", WEIGHTS, ".safetensors and .npz are written"),
        (tmp_path / "file" / "x.npz", WEIGHTS, "cannot write .*(Not a directory|File exists)"),
        (tmp_path / "file" / "x.safetensors", WEIGHTS, "cannot write .*(Not a direct|File exis)"),
        (tmp_path / "x.npz", {"name": "text"}, "name is not an array of numbers"),
        (tmp_path / "x.safetensors", {"name": [None]}, "name is not an array of numbers"),
    ):
        with pytest.raises(UserError, match=said):
            write_weights(weights, path)
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        write_weights(WEIGHTS, tmp_path / "x.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.npz"]


@pytest.mark.parametrize("wrong", hostile.bad_npz())
def test_an_npz_file_of_a_stranger_is_refused(tmp_path, wrong):
    path = tmp_path / "x.npz"
    path.write_bytes(hostile.bad_npz()[wrong])
    refused(path, "cannot read")


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pth"])
def test_what_is_no_file_is_refused_at_once(tmp_path, ending):
    for (place, kind), name in zip(hostile.no_files(tmp_path), "abcd", strict=True):
        path = tmp_path / f"{name}{ending}"
        path.symlink_to(place)
        refused(path, kind)


@pytest.mark.slow
def test_torch_files_expand_no_further_than_weights_do(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(1).expand(1_000_000_000)}, path)
    refused(path, "its tensors have 4,000,000,000 bytes, more than the")
    whole = tmp_path / "whole.pth"
    torch.save({"a": torch.zeros(30_000_000)}, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w", 8) as packed:
        for member in archive.infolist():
            packed.writestr(member.filename, archive.read(member))
    refused(path, "it expands to 120,0", "more than the")
