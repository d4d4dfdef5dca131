"""Images to look at come from files, or from the data of a run."""

import numpy as np
import pytest

from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.errors import UserError
from jaxcnn.inspection import images, subject

COLORS = np.arange(5, dtype=np.uint8)


def of_colors(unreadable=()):
    def read(number):
        if number in unreadable:
            raise UnreadableImageError("torn")
        return np.full((2, 2, 1), COLORS[number])

    return images.Images(5, lambda number: f"{number}.png", lambda number: "", read)


def test_batches_have_one_size_and_leave_out_what_cannot_be_read():
    seen = of_colors(unreadable=(1, 4))
    batches = list(seen.batches(2))
    assert [numbers.tolist() for numbers, _ in batches] == [[0], [2, 3]]
    assert [pixels[:, 0, 0, 0].tolist() for _, pixels in batches] == [[0, 0], [2, 3]]
    assert seen.problems == [("1.png", "torn"), ("4.png", "torn")]
    list(seen.batches(2))
    assert len(seen.problems) == 2  # each is said once


def test_not_one_image_is_an_error_that_says_why():
    with pytest.raises(UserError, match=r"not one of 2 images can be read: 1\.png \(torn\)"):
        of_colors(unreadable=(1, 2)).take([1, 2])


@pytest.mark.slow
def test_the_folder_of_a_file_is_its_true_class_if_the_network_has_one(photo_run, tmp_path):
    network = subject.of_run(photo_run.workdir)
    seen = images.of_files(network, [photo_run.images])
    assert seen.count == 12
    assert {seen.truth(number) for number in range(12)} == {"black cat", "dog", "eel"}
    assert seen.name(0).endswith("black cat/0.png")
    numbers, pixels = seen.take([0, 5])
    assert numbers.tolist() == [0, 5]
    assert (pixels.shape, pixels.dtype) == ((2, 16, 16, 3), np.uint8)
    stray = tmp_path / "cats" / "x.png"
    stray.parent.mkdir()
    stray.write_bytes((photo_run.images / "dog" / "0.png").read_bytes())
    assert images.of_files(network, [stray]).truth(0) == ""


def test_the_warning_counts_all_images_that_were_named(photo_run, tmp_path, caplog):
    broken = tmp_path / "a.png"
    broken.write_bytes(b"no image")
    network, dog = subject.of_run(photo_run.workdir), photo_run.images / "dog" / "0.png"
    seen = images.of_files(network, [broken, dog, tmp_path / "none.png"])
    seen.take([0, 1])
    seen.say_problems()
    assert "2 of 3 images cannot be read" in caplog.text
    images.of_files(network, [dog, tmp_path / "none.png"]).say_problems()
    assert "1 of 2 images cannot be read" in caplog.text


def test_an_unreadable_file_is_a_problem_with_a_name(photo_run, tmp_path):
    broken = tmp_path / "a\x1b.png"
    broken.write_bytes(b"no image")
    network = subject.of_run(photo_run.workdir)
    seen = images.of_files(network, [broken, photo_run.images / "dog" / "0.png"])
    assert seen.take([0, 1])[0].tolist() == [1]
    ((name, _),) = seen.problems
    assert name.endswith(r"a\x1b.png")


def test_a_split_is_of_a_run():
    network = subject.of_name("lenet5_modern")
    with pytest.raises(UserError, match="--split names images of a run's data"):
        images.of_split(network, "test")
