"""Training, prediction and preparation list the same files, and say what they leave out."""

import os
import shutil

import numpy as np
import pytest

from jaxcnn.data import load, pipeline
from jaxcnn.data.images import listing
from jaxcnn.data.images.decode import ENDINGS
from jaxcnn.data.images.files import find_images, map_images
from jaxcnn.data.prepare.folders import read_folder
from jaxcnn.errors import UserError
from tests import hostile


@pytest.fixture(autouse=True)
def said_anew():
    listing.say_once.cache_clear()


def mixed(root, encode):
    """Two classes, of which one has its images everywhere; returns the names of those."""
    image = encode(np.full((9, 9, 3), 200, np.uint8))
    cat = root / "train/cat"
    names = [f"{number}{ending}" for number, ending in enumerate(ENDINGS)]
    names += [
        "IMG.JPG",
        "x.Jfif",
        "deep/er/1.png",
        "deep/0.bmp",
        "linked/2.png",
        "-1.png",
        "=1.png",
    ]
    for name in names:
        (cat / name).parent.mkdir(parents=True, exist_ok=True)
        (cat / name).write_bytes(image)
    (cat / "linked").rename(root / "elsewhere")
    (cat / "linked").symlink_to(root / "elsewhere")
    (cat / "file.png").symlink_to(cat / "0.jpg")
    for name in ("notes.txt", "raw.heic", "raw2.HEIC", ".DS_Store", "README", ".hidden/3.png"):
        (cat / name).parent.mkdir(exist_ok=True)
        (cat / name).write_bytes(image)
    (cat / "folder.jpg").mkdir()
    (cat / "folder.jpg/inside.png").write_bytes(image)
    (cat / "up").symlink_to(root / "train")
    (cat / "self").symlink_to(cat)
    (cat / "deep/again").symlink_to(root / "elsewhere")
    (cat / "nothing.jpg").symlink_to(root / "gone")
    (cat / "circle.jpg").symlink_to(cat / "circle.jpg")
    hostile.no_files(cat)
    (root / "train/dog").mkdir()
    (root / "train/dog/0.png").write_bytes(image)
    (root / "train/stray.png").write_bytes(image)
    return [*names, "file.png", "folder.jpg/inside.png"]


def test_training_prediction_and_preparation_have_the_same_images(tmp_path, encode, caplog):
    names = mixed(tmp_path, encode)
    source = load("folder", "train", dir=tmp_path, image_size=8)
    cat = tmp_path / "train/cat"
    trained = [source.describe(index) for index in range(source.num_examples)]
    shown = find_images([cat]).files
    assert trained == [*map(str, shown), str(tmp_path / "train/dog/0.png")]
    prepared = read_folder(tmp_path, "x").splits["train"]()
    assert [prepared.describe(index) for index in prepared.keys and range(len(trained))] == trained
    # A folder is listed once, by the first way to it: deep/again, and not linked.
    wanted = {name.replace("linked/", "deep/again/") for name in names}
    assert {str(path.relative_to(cat)) for path in shown} == wanted
    (batch,) = pipeline.eval_batches(source, batch_size=len(trained))
    assert batch["weight"].all()
    assert (batch["image"] == 200).all()
    lines = [line for line in caplog.messages if line.startswith("left out below")]
    assert len(lines) == 2  # once by training and preparation, once by prediction
    for line, missing in zip(lines, ("1 in no class folder", "2 ending in .heic"), strict=True):
        assert missing in line
        for part in ("2 ending in .heic", "1 ending in .txt", "1 without an ending", "2 hidden"):
            assert part in line
        for part in ("circle.jpg links to nothing", "fifo.jpg is a FIFO", "more like these"):
            assert part in line
        assert line.isprintable()


def test_links_and_special_files_are_named(tmp_path):
    cat = tmp_path / "cat"
    cat.mkdir()
    (cat / "up").symlink_to(tmp_path)
    (cat / "self").symlink_to(cat)
    (cat / "nothing.jpg").symlink_to(tmp_path / "gone")
    made = hostile.no_files(cat)
    found = listing.list_images(cat)
    assert not found.files
    assert set(found.special) == {
        f"up {listing.AGAIN}",
        f"self {listing.AGAIN}",
        f"nothing.jpg {listing.NO_LINK}",
        *(f"{path.name} is {kind}" for path, kind in made),
    }


def test_what_is_named_itself_and_is_no_file_is_an_answer(tmp_path):
    from jaxcnn.data.images.transforms import Cropper

    made = dict(hostile.no_files(tmp_path))
    (tmp_path / "nothing.jpg").symlink_to(tmp_path / "gone")
    files = [*made, tmp_path / "nothing.jpg"]
    found = dict(map_images(lambda images: images, find_images(files).files, Cropper(8), 4))
    for path, kind in made.items():
        assert found[path] == f"it is {kind}, not a regular file"
    assert found[tmp_path / "nothing.jpg"] == "No such file or directory"


def test_a_fifo_that_takes_the_place_of_an_image_is_skipped(image_folder, caplog):
    root = image_folder(per_class=2)
    source = load("folder", "train", dir=root, image_size=8)
    (root / "train/ant/0.jpg").unlink()
    os.mkfifo(root / "train/ant/0.jpg")
    (root / "train/bee/0.jpg").unlink()
    (root / "train/bee/0.jpg").symlink_to("/dev/zero")
    with (root / "train/cow/0.jpg").open("r+b") as file:
        file.truncate(1 << 40)  # takes no room
    (batch,) = pipeline.eval_batches(source, batch_size=6)
    assert batch["weight"].tolist() == [0, 1, 0, 1, 0, 1]
    for reason in ("a FIFO", "a device", "1,099,511,627,776 bytes"):
        assert reason in caplog.text


BAD_NAMES = [
    name
    for name in hostile.NAMES
    if any(ord(character) < 32 or ord(character) == 127 for character in name)
    or (not name.isprintable() and "\udcff" in name)
]


@pytest.mark.parametrize("name", hostile.NAMES)
def test_a_class_is_trained_by_its_name_or_refused(image_folder, name):
    root = image_folder(classes=("ant", name, "zebra"), per_class=1)
    if name in BAD_NAMES:
        for read in (lambda: load("folder", "train", dir=root), lambda: read_folder(root, "x")):
            with pytest.raises(UserError, match="control character, a line break or bytes") as info:
                read()
            assert str(info.value).isprintable()
        return
    source = load("folder", "train", dir=root, image_size=8)
    assert set(source.class_names) == {"ant", name, "zebra"}
    if name != name.strip():
        with pytest.raises(UserError, match="begins or ends with a space"):
            read_folder(root, "x")
    else:
        assert read_folder(root, "x").labels["label"] == source.class_names


def test_two_spellings_of_a_name_are_refused_and_capitals_are_not(image_folder):
    root = image_folder(classes=("Ant", "ant", "ANT"), per_class=1)
    assert load("folder", "train", dir=root, image_size=8).num_classes == 3
    image_folder(classes=("caf\u00e9", "cafe\u0301"), per_class=1)
    with pytest.raises(UserError, match=r"are the same name in two spellings of Unicode"):
        load("folder", "train", dir=root)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_may_not_be_listed(image_folder):
    root = image_folder()
    (root / "train/ant").chmod(0)
    with pytest.raises(UserError, match=r"cannot list the folder .*Permission denied"):
        load("folder", "train", dir=root)


def test_folders_that_are_nested_too_deep_are_one_line(tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(here)
    with pytest.raises(UserError, match=r"cannot list the folder .*File name too long"):
        find_images([tmp_path])
    with pytest.raises(UserError, match="no such file or folder"):
        find_images([tmp_path / ("n" * 300)])


def test_a_name_of_255_bytes_is_read(image_folder):
    root = image_folder(per_class=1)
    for part in ("train/ant", "train/" + "c" * 255):
        (root / part).mkdir(exist_ok=True)
        shutil.copy(root / "train/bee/0.jpg", root / part / ("n" * 251 + ".jpg"))
    source = load("folder", "train", dir=root, image_size=8)
    (batch,) = pipeline.eval_batches(source, batch_size=5)
    assert batch["weight"].tolist() == [1] * 5
