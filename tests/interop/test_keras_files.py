"""Keras's files are read to the bit, or refused in one line; nothing in them reaches further."""

import io
import random
import sys
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.interop import keras_files, read_weights
from tests import hostile

h5py = pytest.importorskip("h5py")

KERNEL = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
BETA = np.array([1.5, -2.0], np.float16)


def h5(write, **options):
    """The bytes of a file after `write(file)`."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", **options) as file:
        write(file)
    return stream.getvalue()


def weights(file, **options):
    """Writes what Keras 3 does of one convolution, named `stem`, and one BN without a gamma."""
    layer = file.create_group("layers/conv2d/vars")
    layer.attrs["name"] = "stem"
    layer.create_dataset("0", data=KERNEL, **options)
    layer.create_dataset("1", data=KERNEL[0, 0, 0])
    layer = file.create_group("layers/batch_normalization/vars")
    layer.attrs["name"] = "stem_bn"
    for place in range(3):
        layer.create_dataset(str(place), data=BETA * (place + 1))
    file.create_group("layers/input_layer/vars").attrs["name"] = "input_layer"
    optimizer = file.create_group("optimizer/vars")
    optimizer.create_dataset("0", data=7)
    file.create_group("layers/dropout/seed_generator/vars").create_dataset("0", data=[1, 2])


EXPECTED = {
    "stem/kernel": KERNEL,
    "stem/bias": KERNEL[0, 0, 0],
    "stem_bn/beta": BETA,
    "stem_bn/moving_mean": BETA * 2,
    "stem_bn/moving_variance": BETA * 3,
}


def legacy(file):
    """Writes what Keras 2 does of the same layers, one of them in a nested model."""
    file.attrs["layer_names"] = [b"stem", b"nested"]
    file.create_dataset("stem/stem_1/kernel:0", data=KERNEL)
    file.create_dataset("stem/stem_1/bias:0", data=KERNEL[0, 0, 0])
    for number, name in enumerate(("beta", "moving_mean", "moving_variance"), start=1):
        file.create_dataset(f"nested/stem_bn/{name}:0", data=BETA * number)
        file.create_dataset(f"nested/other/{name}:0", data=BETA)


def archive(content, member=keras_files.WEIGHTS, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        file.writestr("config.json", '{"class_name": "Lambda", "config": "anything"}')
        file.writestr(member, content)
    return stream.getvalue()


def assert_same(here, there):
    assert here.keys() == there.keys()
    for key, array in here.items():
        assert (array.dtype, array.shape) == (there[key].dtype, there[key].shape)
        assert array.tobytes() == there[key].tobytes()


def refused(path, content, *parts):
    path.write_bytes(content)
    with pytest.raises(UserError) as info:
        read_weights(path)
    message = str(info.value)
    assert message.isprintable()
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".weights.h5", ".keras"])
def test_the_content_decides_what_is_read_and_optimizers_are_left(tmp_path, suffix):
    content = h5(weights)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(archive(content) if suffix == ".keras" else content)
    assert_same(read_weights(path), EXPECTED)


def test_a_file_of_keras_2_is_read_by_groups(tmp_path):
    named = {"stem/kernel:0": KERNEL, "stem/bias:0": KERNEL[0, 0, 0]}
    for number, name in enumerate(("beta", "moving_mean", "moving_variance"), start=1):
        named[f"nested/stem_bn/{name}:0"] = BETA * number
        named[f"nested/other/{name}:0"] = BETA
    (tmp_path / "weights.h5").write_bytes(h5(legacy))
    assert_same(read_weights(tmp_path / "weights.h5"), named)

    def whole(file):
        legacy(file.create_group("model_weights"))
        file.create_dataset("optimizer_weights/adam/stem_kernel_momentum:0", data=KERNEL)

    (tmp_path / "whole.h5").write_bytes(h5(whole))
    assert_same(read_weights(tmp_path / "whole.h5"), named)


def test_layers_without_names_or_with_the_same_are_read_by_places(tmp_path):
    places = {
        "layers/conv2d/vars/0": KERNEL,
        "layers/conv2d/vars/1": KERNEL[0, 0, 0],
        **{f"layers/batch_normalization/vars/{i}": BETA * (i + 1) for i in range(3)},
    }
    for name in (None, "stem_bn", np.array(["stem"], object), "x" * 2000, np.zeros(5000)):

        def write(file, name=name):
            weights(file)
            attributes = file["layers/conv2d/vars"].attrs
            del attributes["name"]
            if name is not None:
                attributes["name"] = name

        (tmp_path / "x.h5").write_bytes(h5(write))
        assert_same(read_weights(tmp_path / "x.h5"), places)


def test_bfloat16_is_read(tmp_path):
    brain = np.array([[1, -2.5, 3e38]], jnp.bfloat16)

    def write(file):
        file.create_dataset("layers/dense/vars/0", data=brain.view("V2"))
        file["layers/dense/vars"].attrs["name"] = "dense"

    (tmp_path / "x.h5").write_bytes(h5(write))
    assert_same(read_weights(tmp_path / "x.h5"), {"dense/kernel": brain})


COMPRESSED = {
    "chunks": {"chunks": (1, 1, 2, 4)},
    "gzip": {"compression": "gzip"},
    "all": {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (1, 1, 2, 4)},
}


@pytest.mark.parametrize("options", COMPRESSED.values(), ids=COMPRESSED)
def test_chunks_and_gzip_are_read(tmp_path, options):
    (tmp_path / "x.h5").write_bytes(h5(lambda file: weights(file, **options)))
    assert_same(read_weights(tmp_path / "x.h5"), EXPECTED)
    content = archive((tmp_path / "x.h5").read_bytes(), compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "x.keras").write_bytes(content)
    assert_same(read_weights(tmp_path / "x.keras"), EXPECTED)


# What reaches beyond the file, or is no number --------------------------------------------------


def linked(link):
    def write(file):
        weights(file)
        file["layers/dense"] = link

    return write


def stored_elsewhere(file):
    weights(file)
    file.create_dataset("layers/dense/vars/0", (4,), "f4", external=[("other.h5", 0, 16)])


def virtual(file):
    weights(file)
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def circle(file):
    weights(file)
    file["layers/dense/back"] = file["layers"]


def shared(file):
    weights(file)
    file["layers/dense/vars/0"] = file["layers/conv2d/vars/0"]


def dataset(**fields):
    def write(file):
        weights(file)
        file.create_dataset("layers/dense/vars/0", **fields)

    return write


REACHING = {
    "external link": (linked(h5py.ExternalLink("other.h5", "/")), "dense is a ExternalLink"),
    "soft link": (linked(h5py.SoftLink("/layers/conv2d")), "dense is a SoftLink"),
    "external storage": (stored_elsewhere, "not in the file"),
    "virtual": (virtual, "not in the file"),
    "circle": (circle, "no tree of layers"),
    "hard link": (shared, "no tree of layers"),
    "deep": (lambda file: file.create_group("/".join("a" * 40)), "no tree of layers"),
    "text": (dataset(data=["a"], dtype=h5py.string_dtype()), "not an array of numbers"),
    "fixed text": (dataset(data=b"abcd"), "not an array of numbers"),
    "references": (dataset(shape=(1,), dtype=h5py.ref_dtype), "not an array of numbers"),
    "records": (dataset(shape=(1,), dtype=[("a", "f4"), ("b", "O")][:1]), "not an array of num"),
    "arrays": (dataset(shape=(1,), dtype=h5py.vlen_dtype("f4")), "not an array of numbers"),
    "complex": (dataset(shape=(1,), dtype="c8"), "not an array of numbers"),
    "nothing": (dataset(data=h5py.Empty("f4")), "not in the file"),
}


@pytest.mark.parametrize("write", REACHING)
def test_what_is_no_array_of_the_file_is_refused(tmp_path, write):
    content, said = h5(REACHING[write][0]), REACHING[write][1]
    refused(tmp_path / "x.h5", content, said)
    refused(tmp_path / "x.keras", archive(content), said)


# What expands -----------------------------------------------------------------------------------


def with_chunk(chunk, **fields):
    """Writes an array whose compressed chunk is given."""

    def write(file):
        weights(file)
        made = file.create_dataset("layers/dense/vars/0", (64,), "f4", chunks=(64,), **fields)
        made.id.write_direct_chunk((0,), chunk)

    return write


ZEROS = zlib.compress(b"\0" * 50_000_000)
EXPANDING = {
    "never written": (dataset(shape=(10**11,), dtype="f4"), "400,000,000,1"),
    "never written chunks": (dataset(shape=(10**11,), dtype="f4", chunks=(1000,)), "400,000,000,1"),
    "gzip": (dataset(data=np.zeros(30_000_000, "f4"), compression="gzip"), "120,000,1"),
    "chunk": (with_chunk(ZEROS, compression="gzip"), "has more than 256 bytes"),
    "large chunk": (
        dataset(shape=(1,), dtype="f4", chunks=(10**8,), maxshape=(None,), compression="gzip"),
        "chunks that do not fit",
    ),
    "another filter": (dataset(data=KERNEL, compression="lzf"), "use h5repack -f NONE"),
    "another order": (dataset(data=KERNEL, chunks=True, scaleoffset=3), "use h5repack -f NONE"),
}


@pytest.mark.parametrize("write", EXPANDING)
def test_what_expands_is_refused_before_it_does(tmp_path, write):
    make, said = EXPANDING[write]
    refused(tmp_path / "x.h5", h5(make), said)


def test_an_archive_expands_no_further_than_weights_do(tmp_path):
    def write(file):
        weights(file)
        file.create_dataset("layers/dense/vars/0", data=np.zeros(20_000_000, "f4"))

    packed = archive(h5(write), compression=zipfile.ZIP_DEFLATED)
    assert len(packed) < 500_000
    refused(tmp_path / "x.keras", packed, "model.weights.h5 have 80,0", "more than the")


def test_an_archive_is_refused_for_what_it_lacks(tmp_path):
    content = h5(weights)
    refused(tmp_path / "x.keras", archive(content, "other.h5"), "it has no model.weights.h5")
    refused(tmp_path / "x.keras", archive(content, compression=zipfile.ZIP_LZMA), "is not read")
    refused(tmp_path / "x.keras", content, "damaged")
    refused(tmp_path / "x.keras", archive(content)[:-100], "damaged")
    encrypted = bytearray(archive(content))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.rindex(mark) + place] |= 1
    refused(tmp_path / "x.keras", encrypted, "encrypted")
    refused(tmp_path / "x.h5", archive(content), "damaged")
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"\x80\x04N."):
        refused(tmp_path / "x.h5", content)


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_what_is_no_file_is_refused_at_once(tmp_path, ending):
    for (place, kind), name in zip(hostile.no_files(tmp_path), "abcd", strict=True):
        path = tmp_path / f"{name}{ending}"
        path.symlink_to(place)
        with pytest.raises(UserError, match=kind):
            read_weights(path)


def test_too_many_groups_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "MOST_OBJECTS", 5)
    refused(tmp_path / "x.h5", h5(weights), "no tree of layers")


def test_without_h5py_the_way_to_it_is_named(tmp_path, monkeypatch):
    content = h5(weights)
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name, file in (("x.h5", content), ("x.keras", archive(content))):
        refused(tmp_path / name, file, 'needs h5py: pip install "jaxcnn[keras]"')


@pytest.mark.slow
def test_a_damaged_file_is_refused_or_read_as_it_stands(tmp_path):
    """HDF5 keeps no checksums here: numbers may be wrong, but names and shapes are a network's."""
    chance, content, path, read = random.Random(0), h5(weights), tmp_path / "x.h5", 0  # noqa: S311
    for _ in range(150):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_weights(path)
        except UserError:
            continue
        read += 1
        assert all(array.dtype.kind in "fiub" for array in found.values())
    assert 0 < read < 150
