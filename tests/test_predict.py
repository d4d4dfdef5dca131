"""A run's network names what is on image files, as it would itself."""

import csv
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxcnn import load, predict
from jaxcnn.config import build, build_data
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.evaluation import evaluate
from jaxcnn.predict import main
from jaxcnn.run import workdir
from jaxcnn.training import train
from tests import photos
from tests.checkpoints import seal_as_before


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def by_hand(run, split="test"):
    """Probabilities by the data's own reader and the network's plain call, and the files."""
    config = run.config()
    source = build_data.load_data(config, split)
    images = np.stack([source.read(index, None)[0] for index in range(source.num_examples)])
    model = build.make_model(config, 3)
    images = build_data.make_normalize(config)(images)
    logits = model.apply(run.state()["ema"], images, train=False)
    files = [source.describe(index) for index in range(source.num_examples)]
    labels = [source.read(index, None)[1] for index in range(source.num_examples)]
    return files, np.asarray(jax.nn.softmax(logits)), labels


@pytest.mark.slow
def test_probabilities_are_the_averaged_network_s_own(photo_run, tmp_path, capsys):
    main([f"--workdir={photo_run.workdir}", str(photo_run.images), f"--csv={tmp_path}/x.csv"])
    assert capsys.readouterr().out == f"{tmp_path}/x.csv: 12 images\n"
    files, wanted, labels = by_hand(photo_run)
    found = {}
    for row in read(tmp_path / "x.csv"):
        assert row["class"] == photos.CLASSES[int(row["label"])]
        found.setdefault(row["file"], []).append((int(row["label"]), float(row["probability"])))
    assert sorted(found) == sorted(files)
    hits = 0
    for file, probabilities, label in zip(files, wanted, labels, strict=True):
        np.testing.assert_allclose([p for _, p in sorted(found[file])], probabilities, atol=1e-6)
        order = [p for _, p in found[file]]
        assert order == sorted(order, reverse=True)
        hits += found[file][0][0] == label
    assert hits / 12 == pytest.approx(photo_run.results["test/top1_ema"])
    raw = {key: photo_run.state()[key] for key in ("params", "batch_stats")}
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), raw, photo_run.state()["ema"])
    assert max(jax.tree.leaves(apart)) > 1e-3, "averages must differ for this test to tell"


@pytest.mark.slow
def test_lines_have_the_most_probable_classes(photo_run, capsys):
    image = photo_run.images / "dog" / "0.png"
    main([f"--workdir={photo_run.workdir}", "--topk=2", "--checkpoint=2", str(image)])
    ((file, guesses),) = predict.predict(load(photo_run.workdir, checkpoint=2), [image], top_k=2)
    assert file == image
    assert [guess.rank for guess in guesses] == [1, 2]
    shown = "  ".join(f"{guess.name} {guess.probability:.2%}" for guess in guesses)
    assert capsys.readouterr().out == f"{image}  {shown}\n"
    ((_, latest),) = predict.predict(load(photo_run.workdir), [image])
    assert len(latest) == 3
    assert latest[0].probability != guesses[0].probability


@pytest.fixture
def copy(photo_run, tmp_path):
    """A workdir to spoil."""
    return shutil.copytree(photo_run.workdir, tmp_path / "copy")


@pytest.mark.slow
def test_a_workdir_without_names_gives_numbers_and_says_so(photo_run, copy, capsys, caplog):
    (copy / "classes.json").unlink()
    seal_as_before(copy)
    main([f"--workdir={copy}", str(photo_run.images / "dog" / "0.png")])
    ((_, guesses),) = predict.predict(load(copy), [photo_run.images / "dog" / "0.png"])
    assert {(guess.name, guess.label) for guess in guesses} == {("0", 0), ("1", 1), ("2", 2)}
    assert "  0 " in capsys.readouterr().out
    assert "no classes.json with 3 names" in caplog.text


def test_an_old_workdir_gets_its_names_and_another_folder_s_are_refused(photo_run, copy):
    config = photo_run.config()
    assert json.loads((copy / "classes.json").read_text()) == list(photos.CLASSES)
    (copy / "classes.json").unlink()
    seal_as_before(copy)
    train.run(freeze(config), copy)  # finished
    assert workdir.read_class_names(copy) == photos.CLASSES
    renamed = shutil.copytree(photo_run.images.parent, copy / "renamed")
    for split in ("train", "test"):
        (renamed / split / "dog").rename(renamed / split / "doge")
    config.data.dir = str(renamed)
    with pytest.raises(UserError, match=r"class 1 is 'dog' in .* and 'doge' in the data"):
        train.run(freeze(config), copy)
    assert workdir.read_class_names(copy) == photos.CLASSES


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["{", '"dog"', "[1, 2]", "[" * 99999, '["dog", "black cat", "eel"]']
)
def test_the_names_within_the_checkpoint_decide(copy, photo_run, text, caplog):
    image = photo_run.images / "dog" / "0.png"
    ((_, wanted),) = predict.predict(load(photo_run.workdir), [image])
    (copy / "classes.json").write_text(text)
    ((_, guesses),) = predict.predict(load(copy), [image])
    assert guesses == wanted
    assert caplog.text.count("classes.json differs from the names within the checkpoint") == 1


@pytest.mark.parametrize("text", ["{", '"dog"', "[1, 2]", "[" * 99999])
def test_names_of_an_old_run_that_cannot_be_read_are_said(copy, photo_run, text):
    seal_as_before(copy)
    (copy / "classes.json").write_text(text)
    with pytest.raises(UserError, match=r"classes\.json (cannot be read|is not a list of names)"):
        main([f"--workdir={copy}", str(photo_run.images)])


def test_an_image_that_has_another_size_than_a_data_set_without_crop_is_resized(photo_run):
    config = photo_run.config()
    config.data.eval_crop = "none"
    assert build_data.make_cropper(config).evaluate == "resize"


MISTAKES = {
    "no workdir": (["--workdir=/nowhere", "{image}"], "/nowhere is not the workdir"),
    "no flag": (["{image}"], "--workdir"),
    "no images": (["--workdir={run}"], "IMAGE"),
    "no such image": (["--workdir={run}", "gone.png"], "gone.png: there is no such file"),
    "empty folder": (["--workdir={run}", "{run}"], "no file in this folder"),
    "no such step": (["--workdir={run}", "--checkpoint=3", "{image}"], r"there are \[2, 4\]"),
    "no such choice": (["--workdir={run}", "--checkpoint=worst", "{image}"], "latest, best or"),
    "no checkpoint": (["--workdir={bare}", "{image}"], "there is no checkpoint in"),
    "topk": (["--workdir={run}", "--topk=0", "{image}"], "--topk=0 is too small"),
    "batch": (["--workdir={run}", "--batch=0", "{image}"], "--batch=0 is too small"),
    "csv is a folder": (["--workdir={run}", "--csv={run}", "{image}"], "cannot write .* folder"),
    "csv below a file": (["--workdir={run}", "--csv={image}/x", "{image}"], "cannot write"),
    "unreadable": (["--workdir={run}", "{run}/config.json"], "not one of 1 images can be read"),
}


@pytest.mark.parametrize(("flags", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_user_errors(photo_run, tmp_path, flags, message):
    shutil.copy(photo_run.workdir / "config.json", tmp_path)
    places = {
        "run": photo_run.workdir,
        "bare": tmp_path,
        "image": photo_run.images / "dog" / "0.png",
    }
    with pytest.raises(UserError, match=message) as info:
        main([flag.format(**places) for flag in flags])
    assert info.value.exit_code == 2
    assert str(info.value).isprintable()


@pytest.mark.slow
def test_what_cannot_be_read_is_named_in_one_line_and_the_others_predicted(photo_run, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    shutil.copy(photo_run.images / "dog" / "0.png", tmp_path / "whole.png")
    flags = [f"--workdir={photo_run.workdir}", f"--csv={tmp_path}/x.csv", "gone.jpg", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "jaxcnn.predict", *flags], capture_output=True, text=True, timeout=99
    )
    (line,) = done.stderr.splitlines()
    named = "gone.jpg (there is no such file or folder), "
    assert line.startswith(f"WARNING: 2 of 3 images cannot be read and are left out: {named}")
    assert f"{tmp_path}/torn" in line
    assert done.returncode == 0  # of three, one is answered
    assert {row["file"] for row in read(tmp_path / "x.csv")} == {f"{tmp_path}/whole.png"}
    assert not list(tmp_path.glob("*.partial"))


def change_config(copy):
    saved = json.loads((copy / "config.json").read_text())
    saved["data"]["mean"][0] = 9.485
    (copy / "config.json").write_text(json.dumps(saved))


CONFIGS = {
    "a digit": change_config,
    "missing": lambda copy: (copy / "config.json").unlink(),
    "empty": lambda copy: (copy / "config.json").write_text(""),
    "nested": lambda copy: (copy / "config.json").write_text("[" * 99999),
    "not UTF-8": lambda copy: (copy / "config.json").write_bytes(b'{"seed": "\xff"}'),
    "long number": lambda copy: (copy / "config.json").write_text('{"seed": %s}' % ("9" * 9999)),
    "another type": lambda copy: (copy / "config.json").write_text('{"model": [1], "data": 3}'),
    "a FIFO": lambda copy: (copy / "config.json").unlink() or os.mkfifo(copy / "config.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", CONFIGS.values(), ids=CONFIGS)
def test_the_config_within_the_checkpoint_decides(photo_run, copy, damage, caplog):
    image = photo_run.images / "dog" / "0.png"
    ((_, wanted),) = predict.predict(load(photo_run.workdir), [image])
    damage(copy)
    ((_, guesses),) = predict.predict(load(copy), [image])
    assert guesses == wanted
    (line,) = caplog.messages
    assert "within the checkpoint" in line
    assert "config.json" in line


@pytest.mark.slow
def test_a_config_that_was_changed_does_not_change_an_evaluation_nor_what_goes_on(photo_run, copy):
    change_config(copy)
    config = photo_run.config()
    changes = {"data.dir": config.data.dir}
    assert evaluate.run(copy, changes=changes) == evaluate.run(photo_run.workdir, changes=changes)
    train.run(freeze(config), copy)  # finished
    config.data.mean = (9.485, *config.data.mean[1:])
    with pytest.raises(UserError, match=r"data\.mean .*0\.485, .* → .*9\.485"):
        train.run(freeze(config), copy)
