"""Files and folders appear whole or not at all."""

import contextlib

import pytest

from jaxcnn.errors import UserError
from jaxcnn.io import atomic


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_when_it_is_whole(tmp_path, durable):
    path = tmp_path / "below" / "x"
    for content in (b"old", b"new"):
        with atomic.replaced_file(path, durable=durable) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"old"
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), KeyboardInterrupt(), UserError("")]
)
def test_what_fails_leaves_nothing(tmp_path, error):
    for write in (atomic.whole_file, atomic.whole_folder):
        with pytest.raises((UserError, KeyboardInterrupt)), write(tmp_path / "x"):
            raise error
        assert not list(tmp_path.iterdir())
        assert not atomic.PARTIAL


def test_a_folder_appears_with_all_its_files(tmp_path):
    path = tmp_path / "below" / "x"
    with atomic.whole_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    assert (path / "a").read_text() == "1"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(UserError, match=r"cannot write .*not empty"), atomic.whole_folder(path):
        pass
    assert (path / "a").read_text() == "1"


def test_a_process_that_ends_at_once_removes_what_it_was_writing(tmp_path):
    file, folder = atomic.whole_file(tmp_path / "a"), atomic.whole_folder(tmp_path / "b")
    with contextlib.suppress(UserError), file, folder:
        assert len(list(tmp_path.iterdir())) == 2
        atomic.remove_partial_files()
        assert not list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
