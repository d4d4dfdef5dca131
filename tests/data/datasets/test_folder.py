import os

import numpy as np
import PIL.Image
import pytest

from jaxcnn.data import DatasetConfig, has_validation, load, pipeline
from jaxcnn.data.fields import BatchConfig
from jaxcnn.errors import EXIT_BAD_DATA, EXIT_USAGE, UserError


def test_classes_files_and_labels(image_folder, encode):
    root = image_folder(per_class=3)
    image_folder("val", classes=("ant", "cow"), per_class=2)
    (root / "train/ant/notes.txt").write_text("no image")
    (root / "train/ant/.hidden.jpg").write_bytes(b"")
    (root / "train/bee/9.JPEG").write_bytes((root / "train/bee/0.jpg").read_bytes())
    (root / "train/cow/9.webp").write_bytes(encode(np.zeros((9, 9, 3), np.uint8), "WEBP"))
    train, test = (load("folder", split, dir=root, image_size=8) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("ant", "bee", "cow")
    assert (train.num_examples, test.num_examples) == (11, 4)
    read = {train.describe(i): train.read(i, None) for i in range(11)}
    assert str(root / "train/bee/9.JPEG") in read
    for name, (image, label) in read.items():
        assert os.path.basename(os.path.dirname(name)) == train.class_names[label]
        assert image.shape == (8, 8, 3)
    bright = read[str(root / "train/cow/1.jpg")][0].mean()
    assert bright > read[str(root / "train/ant/1.jpg")][0].mean() + 80
    assert [test.read(i, None)[1] for i in range(4)] == [0, 0, 2, 2]


def test_the_held_out_part_comes_from_train(image_folder):
    root = image_folder(per_class=10)
    kept, held = (
        load("folder", split, dir=root, image_size=8, holdout=6)
        for split in ("train", "validation")
    )
    names = [{dataset.describe(i) for i in range(dataset.num_examples)} for dataset in (kept, held)]
    assert [len(group) for group in names] == [24, 6]
    assert not names[0] & names[1]
    assert sorted(held.read(i, None)[1] for i in range(6)) == [0, 0, 1, 1, 2, 2]


def test_of_class_folders_without_splits_the_held_out_part_is_the_test_split(image_folder):
    root = image_folder(".", per_class=10)
    kept, held = (
        load("folder", split, dir=root, image_size=8, holdout=6) for split in ("train", "test")
    )
    names = [{dataset.describe(i) for i in range(dataset.num_examples)} for dataset in (kept, held)]
    assert [len(group) for group in names] == [24, 6]
    assert not names[0] & names[1]
    assert kept.class_names == held.class_names == ("ant", "bee", "cow")
    assert sorted(held.read(i, None)[1] for i in range(6)) == [0, 0, 1, 1, 2, 2]
    assert (kept.split, held.split) == ("train", "test")
    assert (
        held.contents()["parts"] == kept.contents()["parts"] == dict.fromkeys(held.class_names, 10)
    )
    assert not has_validation(DatasetConfig(kind="folder", dir=str(root), holdout=6))
    for split, holdout, said in (
        ("test", 0, r"hold out a part of its 30 images, for example --config.data.holdout=6;"),
        ("validation", 6, "no validation split: .* are its test split"),
        ("test", 2, "of 30 training examples hold out 3 to 27"),
    ):
        with pytest.raises(UserError, match=said):
            load("folder", split, dir=root, image_size=8, holdout=holdout)
    (root / "Testing").mkdir()  # another's layout, whose splits are no classes
    with pytest.raises(UserError, match=r"no folder .*train; wanted"):
        load("folder", "train", dir=root)


def test_every_image_mode_becomes_rgb_or_grey(image_folder, encode):
    root = image_folder(per_class=1)
    grey = np.full((10, 10), 130, np.uint8)
    alpha = np.dstack([grey, grey, grey, np.full_like(grey, 40)])
    palette = PIL.Image.fromarray(np.dstack([grey] * 3)).quantize(4)
    palette.info["transparency"] = bytes([10, 20, 30, 40])
    (root / "train/ant/a_grey.png").write_bytes(encode(grey))
    (root / "train/ant/b_alpha.png").write_bytes(encode(alpha))
    (root / "train/ant/c_16bit.png").write_bytes(encode(np.full((10, 10), 130 * 257, np.uint16)))
    palette.save(root / "train/ant/d_palette.png", transparency=bytes([10, 20, 30, 40]))
    PIL.Image.fromarray(grey).convert("CMYK").save(root / "train/ant/e_cmyk.jpg", quality=100)
    PIL.Image.fromarray(grey > 128).save(root / "train/ant/f_bit.png")
    for channels in (1, 3):
        dataset = load("folder", "train", dir=root, image_size=8, channels=channels)
        found = {}
        for index in range(dataset.num_examples):
            image, _ = dataset.read(index, None)
            assert image.shape == (8, 8, channels)
            found[os.path.basename(dataset.describe(index))] = image
        for name in ("a_grey.png", "b_alpha.png", "c_16bit.png", "d_palette.png", "e_cmyk.jpg"):
            assert np.abs(found[name].astype(int) - 130).max() <= 2, name
        assert (found["f_bit.png"] == 255).all()


def damage(root, encode, monkeypatch):
    """Spoils five files in five ways and returns their names."""
    whole = (root / "train/ant/0.jpg").read_bytes()
    big = encode(np.zeros((60, 60, 3), np.uint8))
    spoiled = {
        "train/ant/0.jpg": whole[: len(whole) // 2],
        "train/ant/1.jpg": b"<html>not found</html>",
        "train/bee/2.jpg": b"",
        "train/bee/3.jpg": big[:40] + b"\0\0\0\0" + big[44:],
        "train/cow/4.jpg": big,
    }
    for name, data in spoiled.items():
        (root / name).write_bytes(data)
    # Between the limit and twice of it Pillow only warns.
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2000)
    return sorted(str(root / name) for name in spoiled)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_skipped_and_named(image_folder, encode, monkeypatch, caplog):
    root = image_folder()
    bad = damage(root, encode, monkeypatch)
    dataset = load("folder", "train", dir=root, image_size=8, train_crop="random_resized")
    arguments = {"batch_size": 7, "seed": 0, "start_step": 0, "num_steps": 3}
    batches = list(
        pipeline.train_batches(dataset, BatchConfig(max_bad_fraction=5 / 21), **arguments)
    )
    lost = [int(i) for batch in batches for i in batch["index"][batch["weight"] == 0]]
    assert sorted(dataset.describe(i) for i in lost) == bad
    assert sorted(text.split(": ")[0].split()[-1] for text in caplog.messages[:-1]) == bad
    reasons = " ".join(caplog.messages)
    for reason in ("truncated", "not an image", "3600 pixels exceed|60x60 pixels exceed"):
        assert any(part in reasons for part in reason.split("|")), reason

    evaluated = list(pipeline.eval_batches(dataset, batch_size=6))
    assert sum(batch["weight"].sum() for batch in evaluated) == 16
    assert sum((batch["index"] >= 0).sum() for batch in evaluated) == 21

    with pytest.raises(UserError, match=r"5 of the 21 images .* more than the 4 allowed") as error:
        list(pipeline.train_batches(dataset, BatchConfig(max_bad_fraction=4 / 21), **arguments))
    assert error.value.exit_code == EXIT_BAD_DATA


def test_a_file_removed_during_the_run_is_skipped(image_folder):
    root = image_folder(per_class=1)
    dataset = load("folder", "train", dir=root, image_size=8)
    (root / "train/bee/0.jpg").unlink()
    (batch,) = pipeline.eval_batches(dataset, batch_size=3)
    assert batch["weight"].tolist() == [1, 0, 1]


def test_what_is_missing_is_named_with_the_layout_wanted(image_folder, tmp_path):
    def refused(match, split="train", dir=tmp_path):
        with pytest.raises(UserError, match=match) as error:
            load("folder", split, dir=dir)
        assert error.value.exit_code == EXIT_USAGE
        assert "\n" not in str(error.value)

    refused("no folder .*nowhere; wanted: DIR/train/<class>", dir=tmp_path / "nowhere")
    refused("no folder .*train; wanted")
    (tmp_path / "train/ant").mkdir(parents=True)
    refused("holds 1 class folders, not two or more")
    (tmp_path / "train/bee").mkdir()
    refused(r"no image below .*train; wanted.*JPEG, PNG, WebP, BMP, GIF, TIFF and PPM are read")
    image_folder(classes=("ant",))
    refused("no image in class folder .*bee")
    image_folder(classes=("ant", "bee"))
    refused("no test split in .*: looked for test, val, validation", split="test")
    image_folder("test", classes=("ant", "wasp"))
    refused("test has a class that .*train lacks: 'wasp'", split="test")
