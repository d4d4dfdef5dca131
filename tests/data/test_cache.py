"""Decoded images are kept: the same batches, decoded once, whatever happens to the folder."""

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcnn.data import cache, load, pipeline, prefetch
from jaxcnn.data.augmentation.gather import gather_images
from jaxcnn.data.dataset import UnreadableImageError
from jaxcnn.errors import UserError
from tests.data.test_pipeline import STEPS, digest, reference

WHOLE = {"image_size": 16, "train_crop": "resize", "eval_crop": "resize"}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The cache folder of one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/jaxcnn/data"


@pytest.fixture
def photos(image_folder):
    image_folder("test")
    return image_folder()


@pytest.fixture
def undecoded(monkeypatch):
    """Makes decoding an error."""

    def refuse(*arguments):
        raise AssertionError("decoded again")

    return lambda: monkeypatch.setattr(cache, "prefetch", refuse)


def of_folder(folder, split="train", **fields):
    return load("folder", split, dir=folder, **WHOLE | fields)


@pytest.mark.parametrize("place", ["auto", "memory", "device"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_batches_are_the_same(photos, split, place):
    dataset = of_folder(photos, split, holdout=6)
    kept = cache.keep(dataset, place)
    assert kept.in_memory
    assert not dataset.in_memory
    assert kept.labels.dtype == np.int32
    assert reference(kept) == reference(dataset)
    stored, evaluated = ([*pipeline.eval_batches(d, batch_size=5)] for d in (kept, dataset))
    assert list(map(digest, stored)) == list(map(digest, evaluated))
    assert kept.describe(3) == dataset.describe(3)
    assert kept.contents() == dataset.contents()


@pytest.mark.slow
def test_images_of_tfds(prepared, undecoded):
    fields = {"name": "tiny", "dir": prepared[0], "image_size": 8, "holdout": 2}
    fields |= {"train_crop": "none", "eval_crop": "none"}
    for split in ("train", "validation"):
        dataset = load("tfds", split, **fields)
        kept = cache.keep(dataset, num_workers=1)
        assert reference(kept, batch_size=4) == reference(dataset, batch_size=4)
    undecoded()
    assert reference(cache.keep(load("tfds", "train", **fields)), batch_size=4)


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 5])
def test_batches_without_images_gather_the_same_images(photos, process_count, start):
    dataset = of_folder(photos)
    kept = cache.keep(dataset)
    placed = dataclasses.replace(kept, on_device=True)
    fields = {"batch_size": 8, "seed": 3, "start_step": start, "num_steps": STEPS}
    streams = [
        pipeline.train_batches(placed, process_index=process, process_count=process_count, **fields)
        for process in range(process_count)
    ]
    gathered = []
    for parts in zip(*streams, strict=True):
        assert all("image" not in part for part in parts)
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        gathered.append(digest(dict(gather_images(whole, kept.images))))
    assert gathered == reference(dataset)[start:]
    (padded,) = pipeline.eval_batches(placed, batch_size=32)
    (whole,) = pipeline.eval_batches(dataset, batch_size=32)
    assert digest(dict(gather_images(padded, kept.images))) == digest(whole)
    assert gather_images(whole, None) is whole


def test_a_second_run_decodes_nothing(photos, tmp_path, undecoded, root):
    first = cache.keep(of_folder(photos))
    assert len(list(root.glob("*.images"))) == 1
    shutil.copytree(photos / "train", tmp_path / "elsewhere/train")
    undecoded()
    again = cache.keep(of_folder(photos))
    moved = cache.keep(of_folder(tmp_path / "elsewhere"))  # the same content
    assert reference(again) == reference(moved) == reference(first)


def test_other_images_crops_and_examples_are_other_entries(photos, root):
    def count(**fields):
        cache.keep(of_folder(photos, **fields))
        return len(list(root.glob("*.images")))

    assert [count(), count(), count(image_size=8), count(holdout=6)] == [1, 1, 2, 3]
    assert count(interpolation="bicubic") == 4
    file = next(photos.glob("train/ant/*.jpg"))
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(next(photos.glob("train/bee/*.jpg")).read_bytes()[: len(content)])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert count() == 5
    file.write_bytes(content)
    assert count() == 5


def test_random_crops_are_not_kept(photos, root):
    random = of_folder(photos, train_crop="random_resized")
    assert cache.keep(random) is random
    for place in ("memory", "device"):
        with pytest.raises(UserError, match=f"data.cache={place}: .*in every epoch"):
            cache.keep(random, place)
    resized = of_folder(photos)
    assert cache.keep(resized, "none") is resized
    assert cache.keep(of_folder(photos, "test", train_crop="random_resized")).in_memory
    digits = load("digits", "test", image_size=8, channels=1)
    assert cache.keep(digits, "memory") is digits
    assert len(list(root.glob("*.images"))) == 1


def test_auto_keeps_only_what_is_small(photos, monkeypatch):
    dataset = of_folder(photos)
    monkeypatch.setattr(cache, "LARGEST", 21 * 16 * 16 * 3 - 1)
    assert cache.keep(dataset) is dataset
    assert cache.keep(dataset, "memory").in_memory
    small = of_folder(photos, image_size=2)  # of large files
    monkeypatch.setattr(cache, "LARGEST", 21 * 2 * 2 * 3)
    assert cache.keep(small) is small


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b"\1" + file.read_bytes()[1:]),
        lambda file: file.with_suffix(".json").write_text("[1]"),
        lambda file: file.with_suffix(".json").write_text('{"name": "x"}'),
        lambda file: file.with_suffix(".json").write_bytes(b"\xff"),
    ],
)
def test_a_damaged_entry_is_made_again(photos, root, damage, caplog):
    dataset = of_folder(photos)
    expected = reference(cache.keep(dataset))
    (file,) = root.glob("*.images")
    damage(file)
    assert reference(cache.keep(dataset)) == expected
    assert "is damaged" in caplog.text
    caplog.clear()
    assert reference(cache.keep(dataset)) == expected
    assert not caplog.text


def test_an_entry_without_its_record_is_made_again(photos, root):
    expected = reference(cache.keep(of_folder(photos)))
    (record,) = root.glob("*.json")
    record.unlink()
    assert reference(cache.keep(of_folder(photos))) == expected
    assert record.exists()


def test_a_full_disk_keeps_them_in_memory_alone(photos, root, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    dataset = of_folder(photos)
    monkeypatch.setattr(cache.atomic, "replaced_file", full)
    assert reference(cache.keep(dataset)) == reference(dataset)
    assert "No space left on device" in caplog.text
    assert not list(root.glob("*.images"))
    monkeypatch.setattr(cache, "folder", lambda: None)
    assert reference(cache.keep(dataset)) == reference(dataset)


def test_a_split_with_an_unreadable_image_is_read_anew(photos, root, caplog):
    file = photos / "train/bee/3.jpg"
    file.write_bytes(b"no image")
    dataset = of_folder(photos)
    assert cache.keep(dataset) is dataset
    assert str(file) in caplog.text
    assert not list(root.glob("*.images*"))

    def read(index, rng):
        raise UnreadableImageError("cut short")

    broken = dataclasses.replace(of_folder(photos, "test"), read=read)
    assert cache.keep(broken, "memory") is broken


def test_the_least_recently_used_entries_make_room(photos, root, monkeypatch):
    size = 21 * (16 * 16 * 3 + 4)
    monkeypatch.setattr(cache, "LARGEST_FOLDER", 2 * size + 100)
    for number, interpolation in enumerate(("bilinear", "bicubic")):
        cache.keep(of_folder(photos, interpolation=interpolation))
        for file in root.glob("*.json"):
            os.utime(file, (number, number))
    cache.keep(of_folder(photos))  # used last now
    cache.keep(of_folder(photos, "test"))
    titles = sorted(entry.title for entry in cache.entries(root))
    assert titles == [f"{photos} (test), 21 images", f"{photos} (train), 21 images"]
    assert all(entry.size == size for entry in cache.entries(root))
    for entry in cache.entries(root):
        cache.remove(entry)
    assert not cache.entries(root)


TWICE = """
import sys
from jaxcnn.data import cache, load
from tests.data.test_pipeline import reference
dataset = load("folder", "train", dir=sys.argv[1], image_size=16)
slow = dataset.read
def read(index, rng):
    print("decoded", index)
    return slow(index, rng)
import dataclasses
print(reference(cache.keep(dataclasses.replace(dataset, read=read))))
"""


def test_two_runs_at_once(photos, root):
    command = [sys.executable, "-c", TWICE, str(photos)]
    where = {"cwd": Path(__file__).parents[2], "stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, **where) for _ in range(2)]
    printed = [run.communicate(timeout=100)[0].splitlines() for run in runs]
    assert printed[0][-1] == printed[1][-1] == str(reference(of_folder(photos)))
    assert sum(line.startswith("decoded") for lines in printed for line in lines) == 21
    assert sorted(file.suffix for file in root.iterdir()) == [".images", ".json", ".lock"]


def test_what_a_killed_process_left_is_removed(photos, root):
    cache.keep(of_folder(photos))
    (file,) = root.glob("*.images")
    left = file.with_name(f"{file.name}.1.partial")
    left.write_bytes(b"x")
    file.unlink()
    cache.keep(of_folder(photos))
    assert not left.exists()


def test_worker_processes_decode(photos, monkeypatch):
    asked = []

    def noted(make, start, stop, num_workers, describe):
        asked.append(num_workers)
        return prefetch.prefetch(make, start, stop, 0, describe)

    monkeypatch.setattr(cache, "prefetch", noted)
    cache.keep(of_folder(photos), num_workers=3)
    monkeypatch.setattr(cache, "MANY", 21)
    cache.keep(of_folder(photos, "test"))
    assert asked == [3, min(os.cpu_count(), 8)]
