"""ImageNet's tars and class folders: bytes kept, order and labels as TFDS has them."""

import io
import tarfile

import numpy as np
import PIL.Image
import pytest
import scipy.io

from jaxcnn.data import load
from jaxcnn.data.prepare.__main__ import main
from jaxcnn.errors import UserError

WNIDS = ("n01440764", "n01443537", "n15075141")  # classes 0, 1 and 999
OUT = "imagenet2012/5.1.0"


def prepare(source, out, *flags, name="imagenet2012"):
    return main([name, f"--source={source}", f"--out={out}", "--partial", *flags])


@pytest.fixture
def ilsvrc(originals, tmp_path):
    """Writes the tars; returns (folder, {file name: (bytes, label)}, a function to rewrite)."""
    folder = tmp_path / "ilsvrc"
    folder.mkdir()
    truth = {}
    train = {}
    for number, wnid in enumerate(WNIDS):
        for image in range(4):
            name = f"{wnid}_{image}.JPEG"
            mode, kind = "RGB", "JPEG"
            if (number, image) == (0, 1):
                mode = "CMYK"
            if (number, image) == (1, 2):
                kind = "PNG"
            if (number, image) == (2, 3):
                mode = "L"
            data = originals.photo(10 * number + image, mode, kind)
            train.setdefault(wnid, []).append((name, data))
            truth[name] = data, (0, 1, 999)[number]
    validation = []
    for number in (1, 2, 5):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        data = originals.photo(100 + number)
        validation.append((name, data))
        truth[name] = data, None

    def write(train=train, validation=validation):
        inner = []
        for wnid, files in train.items():
            originals.tar(tmp_path / "inner.tar", files, "w")
            inner.append((f"{wnid}.tar", (tmp_path / "inner.tar").read_bytes()))
        originals.tar(folder / "ILSVRC2012_img_train.tar", inner, "w")
        originals.tar(folder / "ILSVRC2012_img_val.tar", validation, "w")

    write()
    return folder, truth, train, validation, write


def raw(folder, split):
    """The records of a split with their encoded images, as TFDS reads them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    return list(builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()}))


def test_tars_are_read_where_they_lie(ilsvrc, tmp_path):
    folder, truth, *_ = ilsvrc
    before = sorted(folder.iterdir())
    assert prepare(folder, tmp_path / "out") == 0
    assert sorted(folder.iterdir()) == before
    import tensorflow_datasets as tfds

    shipped = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
    wnids = shipped.read_text().split()
    names = (tmp_path / "out" / OUT / "label.labels.txt").read_text().split()
    assert names == sorted(names)
    assert len(names) == 1000

    records = raw(tmp_path / "out" / OUT, "train")
    assert len(records) == 12
    for record in records:
        name = record["file_name"].decode()
        data, label = truth[name]
        assert record["label"] == label
        assert names[label] == name.split("_")[0]
        image = PIL.Image.open(io.BytesIO(record["image"]))
        if name in ("n01440764_1.JPEG", "n01443537_2.JPEG"):
            assert (image.format, image.mode) == ("JPEG", "RGB")
            original = PIL.Image.open(io.BytesIO(data)).convert("RGB")
            difference = np.asarray(image).astype(int) - np.asarray(original)
            assert np.abs(difference).mean() < 4
        else:
            assert record["image"] == data
    validation = raw(tmp_path / "out" / OUT, "validation")
    assert len(validation) == 3
    for record in validation:
        name = record["file_name"].decode()
        assert record["image"] == truth[name][0]
        assert names[record["label"]] == wnids[int(name[15:23]) - 1]

    source = load(
        "tfds",
        "test",
        name="imagenet2012",
        dir=tmp_path / "out",
        image_size=16,
        test_split="validation",
        eval_crop="center",
    )
    assert (source.num_examples, source.num_classes) == (3, 1000)
    assert source.file_name(1) == validation[1]["file_name"].decode()
    assert source.read(0, None)[0].shape == (16, 16, 3)


@pytest.mark.slow
def test_the_order_is_that_of_tfds(ilsvrc, stock, tmp_path):
    folder, truth, *_ = ilsvrc
    prepare(folder, tmp_path / "out")
    import tensorflow_datasets as tfds

    class Theirs(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"file_name": tfds.features.Text()})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {
                "train": self._generate_examples("n"),
                "validation": self._generate_examples("I"),
            }

        def _generate_examples(self, initial):
            for name in truth:
                if name.startswith(initial):
                    yield name, {"file_name": name}

    Theirs(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    for split in ("train", "validation"):
        theirs = [r["file_name"] for r in stock(tmp_path / "theirs/1.0.0", split)]
        assert [r["file_name"] for r in raw(tmp_path / "out" / OUT, split)] == theirs


def write_devkit(folder, originals, *, packed, ids):
    """The devkit numbers classes otherwise, and has groups of classes behind them."""
    import tensorflow_datasets as tfds

    wnids = tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()[::-1]
    wnids.append("n00001740")  # a group
    synsets = np.zeros((len(wnids), 1), [("ILSVRC2012_ID", "O"), ("WNID", "O")])
    for number, wnid in enumerate(wnids):
        synsets[number, 0] = (number + 1, wnid)
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"synsets": synsets})
    truth = "".join(f"{number}\n" for number in ids).encode()
    files = [
        ("ILSVRC2012_devkit_t12/data/meta.mat", stream.getvalue()),
        ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth),
    ]
    if packed:
        originals.tar(folder / "ILSVRC2012_devkit_t12.tar.gz", files)
        return
    for name, data in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("packed", [True, False])
def test_labels_of_the_devkit(packed, ilsvrc, originals, tmp_path):
    folder, *_ = ilsvrc
    write_devkit(folder, originals, packed=packed, ids=[1000, 999, 5, 5, 1])
    assert prepare(folder, tmp_path / "out") == 0
    found = {r["file_name"]: r["label"] for r in raw(tmp_path / "out" / OUT, "validation")}
    name = "ILSVRC2012_val_{:08}.JPEG"
    expected = {1: 0, 2: 1, 5: 999}  # reversed: number n is class 1000 - n
    assert found == {name.format(key).encode(): value for key, value in expected.items()}


@pytest.mark.parametrize("wrong", [1001, 1002, 0])
def test_a_label_that_no_class_has(wrong, ilsvrc, originals, tmp_path):
    folder, *_ = ilsvrc
    write_devkit(folder, originals, packed=True, ids=[1, 2, 3, 4, wrong])
    with pytest.raises(UserError, match=f"{wrong} is none of the classes"):
        prepare(folder, tmp_path / "out")


def test_labels_of_a_list(ilsvrc, tmp_path):
    folder, *_ = ilsvrc
    file = folder / "validation_labels.txt"
    file.write_text("\n".join([WNIDS[2]] * 5))
    prepare(folder, tmp_path / "out")
    assert {r["label"] for r in raw(tmp_path / "out" / OUT, "validation")} == {999}
    file.write_text("\n".join([WNIDS[2]] * 4))
    with pytest.raises(UserError, match=r"no label for ILSVRC2012_val_00000005.JPEG, only for 4"):
        prepare(folder, tmp_path / "out2")
    file.write_text("n123")
    with pytest.raises(UserError, match="'n123' is none of the 1,000 classes"):
        prepare(folder, tmp_path / "out2")


def test_an_image_that_is_not_whole_is_named_and_can_be_left_out(ilsvrc, originals, tmp_path):
    folder, _, train, _, write = ilsvrc
    name, _ = train[WNIDS[1]][0]
    train[WNIDS[1]][0] = name, originals.photo(7, size=(300, 200))[:-100]
    train[WNIDS[2]][1] = (train[WNIDS[2]][1][0], b"no image")
    write()
    with pytest.raises(UserError, match="2 records cannot be used") as error:
        prepare(folder, tmp_path / "out")
    for part in (
        f"{name} in ILSVRC2012_img_train.tar (image file is truncated",
        "not an image of a kind that is read",
    ):
        assert part in str(error.value)
    assert prepare(folder, tmp_path / "out", "--allow-bad=2") == 0
    assert len(raw(tmp_path / "out" / OUT, "train")) == 10


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 1.0])
def test_a_tar_that_is_cut_short_is_one_error(share, ilsvrc, tmp_path):
    folder, *_ = ilsvrc
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole.rstrip(b"\0")) * share)])
        with pytest.raises(UserError, match=f"{name} is damaged, truncated"):
            prepare(folder, tmp_path / "out")
        (folder / name).write_bytes(whole)
    assert not (tmp_path / "out" / OUT).exists()


def test_a_tar_that_is_cut_between_two_images(ilsvrc, tmp_path):
    folder, *_ = ilsvrc
    path = folder / "ILSVRC2012_img_val.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1].offset
    with path.open("r+b") as file:
        file.truncate(last)
    with pytest.raises(UserError, match=r"img_val.tar is damaged, truncated .*it has no end"):
        prepare(folder, tmp_path / "out")


def test_class_tars_need_no_end(ilsvrc, originals, tmp_path):
    folder, truth, train, *_ = ilsvrc
    inner = []
    for wnid, files in train.items():
        originals.tar(tmp_path / "inner.tar", files, "w")
        with tarfile.open(tmp_path / "inner.tar") as tar:
            last = tar.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
        inner.append((f"{wnid}.tar", (tmp_path / "inner.tar").read_bytes()[:end]))
    originals.tar(folder / "ILSVRC2012_img_train.tar", inner, "w")
    prepare(folder, tmp_path / "out")
    found = {record["file_name"].decode() for record in raw(tmp_path / "out" / OUT, "train")}
    assert found == {name for name in truth if name.startswith("n")}


def test_files_that_do_not_belong_there(ilsvrc, tmp_path):
    folder, _, train, validation, write = ilsvrc
    cases = [
        ({"n00000000": []}, validation, "n00000000.tar, which is none of the 1,000 classes"),
        ({WNIDS[0]: train[WNIDS[1]]}, validation, "of another class"),
        ({WNIDS[0]: [("../n01440764_1.JPEG", b"x")]}, validation, "outside the archive"),
        ({WNIDS[0]: 2 * train[WNIDS[0]]}, validation, "two examples of train .* the same file"),
        (train, [("/n.JPEG", b"x")], "outside the archive"),
        (train, [("n.JPEG", b"x")], r"n.JPEG, which is none of the validation images"),
        ({}, validation, "no example of train"),
    ]
    for of_train, of_validation, match in cases:
        write(of_train, of_validation)
        with pytest.raises(UserError, match=match):
            prepare(folder, tmp_path / "out")


def test_the_published_counts_are_wanted_before_anything_is_written(ilsvrc, tmp_path):
    folder, *_ = ilsvrc
    with pytest.raises(UserError, match="50,000 examples of validation, and 3 are there"):
        main(["imagenet2012", f"--source={folder}", f"--out={tmp_path / 'out'}"])
    (folder / "ILSVRC2012_img_train.tar").unlink()
    assert prepare(folder, tmp_path / "out") == 0
    assert len(raw(tmp_path / "out" / OUT, "validation")) == 3


@pytest.mark.slow
def test_class_folders(originals, stock, tmp_path):
    photos = tmp_path / "My photos"
    truth = {}
    for split in ("train", "val"):
        for number, kind in enumerate(("ant", "bee")):
            (photos / split / kind).mkdir(parents=True)
            for image in range(3):
                form = "PNG" if image == 2 else "JPEG"
                name = f"{kind}/{split}{image}.{form.lower()}"
                data = originals.photo(50 * number + image, "RGB", form)
                (photos / split / name).write_bytes(data)
                truth[name] = data, number
    assert main(["folder", f"--source={photos}", f"--out={tmp_path / 'out'}"]) == 0
    folder = tmp_path / "out/my_photos/1.0.0"
    for split in ("train", "validation"):
        records = raw(folder, split)
        assert len(records) == 6
        for record in records:
            assert truth[record["file_name"].decode()] == (record["image"], record["label"])
    assert {r["image"].shape for r in stock(folder, "train")} == {(30, 40, 3)}
    assert (folder / "label.labels.txt").read_text().split() == ["ant", "bee"]

    again = [f"--source={photos}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r"my_photos/1\.0\.0 already exists"):
        main(["folder", *again])
    (photos / "train/ant/broken.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"1 records? cannot be used: .*train/ant/broken\.jpg"):
        main(["folder", "--name=others", *again])
    with pytest.raises(UserError, match="'9' is not a name"):
        main(["folder", "--name=9", *again])
    (photos / "val/cow").mkdir()
    with pytest.raises(UserError, match="a class that train lacks: 'cow'"):
        main(["folder", "--name=others", *again])
