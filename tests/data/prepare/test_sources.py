"""Archives of strangers: nothing is unpacked, nothing waits, nothing fills the memory."""

import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zipfile

import pytest

from jaxcnn.data.prepare import files, imagenet
from jaxcnn.data.prepare.__main__ import main
from jaxcnn.errors import UserError

NAME = "test_batch.bin"
LIMIT = 1 << 20  # instead of 512 MiB


def tar(*members, mode="w"):
    """Returns a tar of (TarInfo, bytes) pairs; a member may have less behind it than it says."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data)) if len(data) == member.size else (
                archive.fileobj.write(member.tobuf()),
                archive.fileobj.write(data),
            )
    return stream.getvalue()


def member(kind=tarfile.REGTYPE, size=0, name=f"cifar/{NAME}", link="/etc/passwd", **more):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    for field, value in more.items():
        setattr(info, field, value)
    return info


def zipped(data=b"x", kind=zipfile.ZIP_DEFLATED, names=(NAME,)):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()


def encrypted():
    data = bytearray(zipped(kind=zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


BAD = {
    "device": ("x.tar", tar((member(tarfile.CHRTYPE), b"")), "a link or a device"),
    "fifo": ("x.tar", tar((member(tarfile.FIFOTYPE), b"")), "a link or a device"),
    "hard link": ("x.tar", tar((member(tarfile.LNKTYPE), b"")), "a link or a device"),
    "symbolic link": ("x.tar", tar((member(tarfile.SYMTYPE), b"")), "a link or a device"),
    "twice": ("x.tar", tar(*[(member(size=1), b"x")] * 2), "has two files"),
    "absurd size": ("x.tar", tar((member(size=8**11 - 1), b"x")), "another file: test_batch"),
    "more than there is": ("x.tar", tar((member(size=99_999), b"x")), "damaged, truncated"),
    "huge header": (
        "x.tar.gz",
        gzip.compress(tar((member(tarfile.XHDTYPE, 50 << 20), bytes(50 << 20)))),
        "its content has more than 1,048,576 bytes",
    ),
    "bomb": ("x.tar.gz", gzip.compress(bytes(50 << 20)), "its content has more than"),
    "bomb in a member": (
        "x.tar.gz",
        gzip.compress(tar((member(size=50 << 20), bytes(50 << 20)))),
        "has more than 1,048,576 bytes",
    ),
    "lzma bomb": ("x.tar.xz", lzma.compress(bytes(50 << 20), preset=0), "its content has more"),
    "two bytes": ("x.tar.gz", b"\x1f\x8b", "damaged, truncated"),
    "random": ("x.tar.gz", bytes(range(256)) * 9, "damaged, truncated"),
    "zip bomb": ("x.zip", zipped(bytes(50 << 20)), "has more than 1,048,576 bytes"),
    "zip by bzip2": ("x.zip", zipped(bytes(50 << 20), zipfile.ZIP_BZIP2), "is not read"),
    "zip by lzma": ("x.zip", zipped(b"x", zipfile.ZIP_LZMA), "is not read"),
    "encrypted": ("x.zip", encrypted(), "encrypted"),
    "zip outside": ("x.zip", zipped(names=("../../x",)), "outside the archive"),
    "zip outside on windows": ("x.zip", zipped(names=("..\\x",)), "outside the archive"),
    "zip cut": ("x.zip", zipped(bytes(range(256)) * 20)[40:], "damaged"),
}


@pytest.mark.parametrize(("name", "data", "message"), BAD.values(), ids=BAD)
def test_an_archive_of_a_stranger_is_one_line(tmp_path, monkeypatch, name, data, message):
    monkeypatch.setattr(files, "LARGEST", LIMIT)
    (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message) as info:
            main(["cifar10", f"--source={tmp_path / name}", f"--out={tmp_path / 'out'}"])
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()
    assert str(info.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == before


SOURCES = {
    "mnist": "train-images-idx3-ubyte.gz",
    "cifar10": "cifar-10-binary.tar.gz",
    "cifar100": "train.bin",
    "svhn": "train_32x32.mat",
    "imagenet2012": "ILSVRC2012_img_val.tar",
}


@pytest.mark.parametrize(("kind", "name"), SOURCES.items())
def test_what_is_no_file_is_named(tmp_path, kind, name):
    source = tmp_path / "in"
    source.mkdir()
    os.mkfifo(source / name)
    for given in (source, source / name):
        with pytest.raises(UserError, match=f"{name} is a FIFO, not a regular file"):
            main([kind, f"--source={given}", f"--out={tmp_path / 'out'}"])
    (source / name).unlink()
    (source / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match=f"{name} is a device, not a regular file"):
        main([kind, f"--source={source}", f"--out={tmp_path / 'out'}"])
    (source / name).unlink()
    (source / name).symlink_to(source / name)
    with pytest.raises(UserError, match="no files of"):
        main([kind, f"--source={source}", f"--out={tmp_path / 'out'}"])


VALIDATION = {
    "huge header": (member(tarfile.XHDTYPE, 50 << 20), bytes(2000), "a header of 52,428,800 bytes"),
    "absurd header": (member(tarfile.GNUTYPE_LONGNAME, 8**11 - 1), b"", "a header of"),
    "absurd size": (member(size=8**11 - 1, name="ILSVRC2012_val_00000001.JPEG"), b"", "the end"),
    "device": (member(tarfile.CHRTYPE, name="ILSVRC2012_val_00000001.JPEG"), b"", "is no file"),
    "hard link": (member(tarfile.LNKTYPE, name="ILSVRC2012_val_00000001.JPEG"), b"", "no file"),
    "outside": (member(name="/etc/ILSVRC2012_val_00000001.JPEG"), b"", "outside the archive"),
    "name": (member(name="\x1b[31mx"), b"", "none of the validation images"),
}


@pytest.mark.parametrize(("info", "data", "message"), VALIDATION.values(), ids=VALIDATION)
def test_a_tar_that_is_read_where_it_lies_is_one_line(tmp_path, info, data, message):
    (tmp_path / imagenet.VALIDATION).write_bytes(tar((info, data)) + bytes(60 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message) as error:
            main(["imagenet2012", f"--source={tmp_path}", f"--out={tmp_path / 'o'}", "--partial"])
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert str(error.value).isprintable()


def test_labels_of_damaged_files_are_one_line(tmp_path):
    (tmp_path / imagenet.VALIDATION).write_bytes(tar())
    for name, other in ((imagenet.META, imagenet.GROUND_TRUTH), (imagenet.GROUND_TRUTH, "")):
        (tmp_path / name).write_bytes(b"\xff\x00 1 2")
        if other:
            (tmp_path / other).write_bytes(b"1\n2\n")
        with pytest.raises(UserError, match="damaged, truncated"):
            main(["imagenet2012", f"--source={tmp_path}", f"--out={tmp_path / 'o'}", "--partial"])
    (tmp_path / imagenet.IDS_IN_ORDER).write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"none of the 1,000 classes"):
        main(["imagenet2012", f"--source={tmp_path}", f"--out={tmp_path / 'o'}", "--partial"])
