"""Original files in, the same pixels and labels out, read by TFDS itself and by our reader."""

import gzip
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxcnn.data import load
from jaxcnn.data.prepare.__main__ import main
from jaxcnn.data.prepare.idx import parse_idx
from jaxcnn.errors import UserError


def prepare(name, source, out, *flags):
    return main([name, f"--source={source}", f"--out={out}", *flags])


def assert_same(records, images, labels):
    """Compares as sets of examples, by their pixels."""
    assert len(records) == len(images)
    for record in records:
        (index,) = np.flatnonzero((images == record["image"]).all((1, 2, 3)))
        for key, numbers in labels.items():
            assert record[key] == numbers[index]
        yield index, record


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files(name, compress, originals, stock, tmp_path):
    truth = originals.mnist(tmp_path / "raw", compress=compress)
    assert prepare(name, tmp_path, tmp_path / "out", "--partial") == 0
    folder = tmp_path / "out" / name / "3.0.1"
    for split, (images, labels) in truth.items():
        found = [i for i, _ in assert_same(stock(folder, split), images, {"label": labels})]
        assert sorted(found) == list(range(len(images)))
    names = (folder / "label.labels.txt").read_text().split("\n")
    assert names[0] == {"mnist": "0", "fashion_mnist": "T-shirt/top"}[name]

    source = load("tfds", "test", name=name, dir=tmp_path / "out", image_size=28, channels=1)
    assert (source.num_examples, source.num_classes) == (5, 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar(name, unpacked, originals, stock, tmp_path):
    archive = tmp_path / f"cifar-{name[5:]}-binary.tar.gz"
    truth = originals.cifar(archive, name)
    source = archive
    if unpacked:
        source = tmp_path / "unpacked"
        import tarfile

        with tarfile.open(archive) as tar:
            tar.extractall(source)  # noqa: S202, written here
    assert prepare(name, source, tmp_path / "out", "--partial") == 0
    folder = tmp_path / "out" / name / "3.0.2"
    for split, (images, labels) in truth.items():
        for index, record in assert_same(stock(folder, split), images, labels):
            assert record["id"].decode() == f"{split}_{index:05}"
    assert (folder / "label.labels.txt").read_text().split()[:2] == {
        "cifar10": ["thing0", "thing1"],
        "cifar100": ["kind0", "kind1"],
    }[name]
    if name == "cifar100":
        assert (folder / "coarse_label.labels.txt").read_text().split()[19] == "group19"


def test_the_archive_is_found_in_a_folder(originals, tmp_path):
    originals.cifar(tmp_path / "cifar-10-binary.tar.gz", "cifar10")
    assert prepare("cifar10", tmp_path, tmp_path / "out", "--partial") == 0


def test_svhn_label_ten_is_digit_zero(originals, stock, tmp_path):
    truth = originals.svhn(tmp_path, counts=(12, 4, 5))
    assert prepare("svhn", tmp_path, tmp_path / "out", "--partial") == 0
    folder = tmp_path / "out/svhn_cropped/3.1.0"
    for split, (images, labels) in truth.items():
        digits = np.where(labels == 10, 0, labels)
        for index, record in assert_same(stock(folder, split), images, {"label": digits}):
            assert record["id"].decode() == f"{split}_{index:06}"
    settings = {"name": "svhn_cropped", "dir": tmp_path / "out", "image_size": 32}
    source = load("tfds", "train", **settings, train_split="train+extra")
    assert source.num_examples == 12 + 5
    assert {source.label_of(i) for i in range(12)} == set(range(10))


def test_svhn_without_its_extra_images_says_how_to_get_them(originals, tmp_path):
    originals.svhn(tmp_path)
    (tmp_path / "extra_32x32.mat").unlink()
    assert prepare("svhn", tmp_path, tmp_path / "out", "--partial") == 0
    with pytest.raises(UserError, match=r"no split 'extra' .*jaxcnn.data.prepare svhn --source"):
        load(
            "tfds",
            "train",
            name="svhn_cropped",
            dir=tmp_path / "out",
            image_size=32,
            train_split="train+extra",
        )


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_an_idx_file_is_read_whole_or_refused(originals, array, data):
    content = originals.idx(array)
    assert np.array_equal(parse_idx(content, "x", dimensions=array.ndim), array)
    cut = data.draw(st.integers(0, len(content) - 1))
    for damaged in (content[:cut], content + b"\0"):
        with pytest.raises(UserError, match=r"x (has|does not begin)"):
            parse_idx(damaged, "x", dimensions=array.ndim)


def cut_short(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_files_that_are_cut_short_or_damaged_are_one_error(originals, tmp_path):
    def refused(name, source, match):
        with pytest.raises(UserError, match=match):
            prepare(name, source, tmp_path / "out", "--partial")

    raw = tmp_path / "mnist"
    originals.mnist(raw)
    file = raw / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    cut_short(file)
    refused("mnist", raw, "train-images-idx3-ubyte.gz is damaged, truncated")
    file.write_bytes(whole[:-8] + bytes(4) + whole[-4:])  # the checksum of gzip
    refused("mnist", raw, r"train-images-idx3-ubyte.gz is damaged.*CRC")
    file.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    refused("mnist", raw, "train-images-idx3-ubyte has 9,423 bytes and its dimensions")
    file.unlink()
    refused("mnist", raw, "no train-images-idx3-ubyte in .*mnist, only the other file of train")

    archive = tmp_path / "cifar-10-binary.tar.gz"
    originals.cifar(archive, "cifar10")
    whole = archive.read_bytes()
    cut_short(archive)
    refused("cifar10", archive, r"cifar-10-binary.tar.gz is damaged, truncated")
    archive.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    refused("cifar10", archive, r"cifar-10-binary.tar.gz is damaged.*CRC")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/data_batch_1.bin").write_bytes(bytes(3073 + 5))
    (tmp_path / "bin/batches.meta.txt").write_text("\n".join("abcdefghij"))
    refused("cifar10", tmp_path / "bin", "data_batch_1.bin has 3,078 bytes, not a multiple of")

    originals.svhn(tmp_path / "svhn")
    cut_short(tmp_path / "svhn/test_32x32.mat")
    refused("svhn", tmp_path / "svhn", "test_32x32.mat is damaged, truncated")
    assert not list((tmp_path / "out").rglob("dataset_info.json"))


def test_counts_that_are_not_the_published_ones_need_a_word(originals, tmp_path):
    originals.mnist(tmp_path / "raw")
    with pytest.raises(
        UserError, match=r"has 60,000 examples of train, and 12 are there.*--partial"
    ):
        prepare("mnist", tmp_path / "raw", tmp_path / "out")
    originals.svhn(tmp_path / "svhn")
    (tmp_path / "svhn/extra_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"no files of extra there.*--partial"):
        prepare("svhn", tmp_path / "svhn", tmp_path / "out")


def test_a_wrong_label_is_named_and_can_be_left_out(originals, stock, tmp_path):
    truth = originals.mnist(tmp_path / "raw", labels=[10, 3, 77])
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        prepare("mnist", tmp_path / "raw", out, "--partial")
    message = str(error.value)
    assert message.startswith("2 records cannot be used: ")
    assert "train record 0 (label 10 is not 0 to 9)" in message
    assert "train record 2 (label 77 is not 0 to 9)" in message
    assert "--allow-bad=2" in message
    assert not (out / "mnist/3.0.1").exists()
    with pytest.raises(UserError, match="2 records cannot be used"):
        prepare("mnist", tmp_path / "raw", out, "--partial", "--allow-bad=1")
    assert prepare("mnist", tmp_path / "raw", out, "--partial", "--allow-bad=2") == 0
    images, _ = truth["train"]
    records = stock(out / "mnist/3.0.1", "train")
    assert len(records) == 10
    found = {int(np.flatnonzero((images == r["image"]).all((1, 2, 3)))[0]) for r in records}
    assert found == {1, *range(3, 12)}


def test_pickles_are_refused_and_never_run(originals, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    data = pickle.dumps(Payload())
    archive = tmp_path / "cifar-10-python.tar.gz"
    originals.tar(archive, [("cifar-10-batches-py/data_batch_1", data)])
    for source in (archive, tmp_path):
        with pytest.raises(UserError, match=r"pickles.*download cifar-10-binary\.tar\.gz"):
            prepare("cifar10", source, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../data_batch_1.bin", "/tmp/data_batch_1.bin", "a/../../x"])  # noqa: S108
def test_an_archive_that_leads_out_of_itself_is_refused(name, originals, tmp_path):
    archive = tmp_path / "in/cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    originals.cifar(archive, "cifar10", extra=[(name, b"x")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="outside the archive"):
        prepare("cifar10", archive, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_two_data_sets_in_one_folder_are_not_mixed_up(originals, tmp_path):
    originals.mnist(tmp_path / "MNIST/raw")
    originals.mnist(tmp_path / "FashionMNIST/raw", seed=1)
    with pytest.raises(UserError, match="have the same name: set --source"):
        prepare("mnist", tmp_path, tmp_path / "out", "--partial")


def test_nothing_there_says_what_is_wanted(tmp_path):
    wanted = {
        "mnist": "train-images-idx3-ubyte",
        "cifar10": "cifar-10-binary.tar.gz",
        "svhn": "train_32x32.mat",
        "imagenet2012": "ILSVRC2012_img_train.tar",
        "folder": "no folder .*train",
        "convert": "dataset_info.json",
    }
    for name, file in wanted.items():
        with pytest.raises(UserError, match=file):
            prepare(name, tmp_path, tmp_path / "out")
        with pytest.raises(UserError, match=r"there is no|no data set of TFDS"):
            prepare(name, tmp_path / "missing", tmp_path / "out")
