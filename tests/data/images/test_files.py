"""Image files named by a person: which they are, and what is made of each."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.data.images.files import find_images, map_images, say_problems
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import UserError
from tests import hostile

REASONS = (
    "not an image of a kind that is read (JPEG, PNG, WebP, BMP, GIF, TIFF and PPM)",
    "No such file or directory",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Eight images, each of one grey of its own, and two that are none."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(8):
        Image.new("L", (5, 4), 10 * number + 5).save(folder / f"{number}.bmp")
    (folder / "8.bmp").write_bytes(b"no image")
    return [*(folder / f"{number}.bmp" for number in range(9)), folder / "gone.bmp"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 7))
def test_each_file_gets_its_own_row_whatever_the_batches(files, chosen, batch_size):
    asked = [files[number] for number in chosen]
    shapes = set()

    def brightness(images):
        shapes.add(images.shape)
        assert images.dtype == np.uint8
        return images.mean((1, 2, 3))

    found = list(map_images(brightness, asked, Cropper(3, 1), batch_size))
    assert [file for file, _ in found] == asked
    for number, (_, row) in zip(chosen, found, strict=True):
        if number < 8:
            assert row == 10 * number + 5
        else:
            assert row == REASONS[number - 8]
    assert shapes == {(min(batch_size, len(asked)), 3, 3, 1)}  # one program for all of them


def test_images_below_folders_are_found_in_order_and_once(tmp_path):
    for name in ("b.PNG", "a/x.tif", "a/.x.png", ".git/y.png", "a/readme.txt", "a/b/c/z.gif", "q"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = find_images([tmp_path / "q", tmp_path, tmp_path / "a"]).files
    assert [str(file.relative_to(tmp_path)) for file in found] == [
        "q",  # named itself
        "a/b/c/z.gif",
        "a/x.tif",
        "b.PNG",
    ]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match=r"gone: there is no such file or folder"):
        find_images([tmp_path / "gone"])
    (tmp_path / "x.txt").touch()
    with pytest.raises(UserError, match=r"no file in this folder has the ending of an image"):
        find_images([tmp_path])


def test_one_wrong_name_does_not_stop_the_others(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.png").touch()
    names = [tmp_path / name for name in ("gone", "x.png", "empty")]
    files, problems = find_images(names)
    assert files == [tmp_path / "x.png"]
    assert [name for name, _ in problems] == [str(tmp_path / "gone"), str(tmp_path / "empty")]
    assert problems[0][1] == "there is no such file or folder"


def test_many_unreadable_files_are_counted(caplog):
    problems = [(f"{number}.png", "why") for number in range(12)]
    say_problems([], 20)
    say_problems(problems, 20)
    (text,) = caplog.messages
    assert text.startswith("12 of 20 images cannot be read and are left out: 0.png (why), ")
    assert text.endswith("9.png (why) and 2 more")
    with pytest.raises(UserError, match=r"^not one of 1 images can be read: 0.png \(why\)$"):
        say_problems(problems[:1], 1)


def test_a_name_of_any_bytes_is_found(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    Path(os.fsdecode(path)).touch()
    ((found,), _) = find_images([tmp_path])
    assert os.fsencode(found) == path


def test_of_a_folder_of_a_stranger_only_whole_images_get_a_row(tmp_path):
    bad = hostile.scatter(tmp_path / "photos")
    whole = tmp_path / "photos" / "whole.png"
    Image.new("L", (5, 4), 77).save(whole)
    asked = find_images([tmp_path / "photos"]).files
    found = dict(map_images(lambda images: images.mean((1, 2, 3)), asked, Cropper(3, 1), 4))
    assert {file for file, row in found.items() if not isinstance(row, str)} == {whole}
    assert set(found) - {whole} == {path for path in bad if path.is_file()}
