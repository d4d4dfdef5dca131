"""`python -m jaxcnn.probe`: linear classifiers on saved features."""

import csv

import numpy as np
import pytest

from jaxcnn import features, probe
from jaxcnn.errors import UserError

CLASSES = ("cat", "dog", "eel")


def write(path, count=8, size=5, seed=0, classes=CLASSES, layer="stage3", **changes):
    """Features that differ between classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count * len(classes)) % len(classes)
    values = 3 * np.eye(len(classes), size)[labels] + rng.normal(size=(len(labels), size))
    files = [f"photos/x/{classes[label]}/{number}.jpg" for number, label in enumerate(labels)]
    arrays = {"features": values.astype(np.float32), "files": np.array(files), "layer": layer}
    np.savez(path, **{**arrays, **changes})
    return str(path)


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "train.npz"), write(tmp_path / "test.npz", count=40, seed=1)


def test_accuracies_of_a_few_and_of_all(files, tmp_path, capsys):
    out = tmp_path / "probe.csv"
    probe.main([*files, "--shots=1,4,all", "--draws=5", f"--csv={out}"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 classes, 24 training and 120 test images; 5 features of stage3"
    assert [line.split()[0] for line in printed[2:5]] == ["1", "4", "all"]
    rows = list(csv.DictReader(out.open()))
    assert [row["shots"] for row in rows] == 5 * ["1"] + 5 * ["4"] + ["all"]
    assert [row["examples"] for row in rows] == 5 * ["3"] + 5 * ["12"] + ["24"]
    means = {
        shots: np.mean([float(row["top1"]) for row in rows if row["shots"] == shots])
        for shots in ("1", "4", "all")
    }
    assert 1 / 3 < means["1"] < means["4"] < means["all"]
    assert means["all"] > 0.9
    assert f"{100 * means['4']:.1f} ±" in printed[3]
    assert f"{100 * means['all']:.1f}" in printed[4]


def test_the_results_are_those_of_the_seeds(files, capsys):
    probe.main([*files, "--shots=2"])
    first = capsys.readouterr().out
    probe.main([*files, "--shots=2"])
    assert capsys.readouterr().out == first


def test_features_of_a_run(photo_run, tmp_path, capsys):
    """Of all test images, for both: training and testing on the same ones."""
    out = tmp_path / "features.npz"
    features.main([f"--workdir={photo_run.workdir}", str(photo_run.images), f"--out={out}"])
    probe.main([str(out), str(out), "--shots=all"])
    assert "3 classes, 12 training and 12 test images" in capsys.readouterr().out


def test_maps_that_are_kept_whole(tmp_path, capsys):
    maps = np.random.default_rng(0).normal(size=(6, 2, 2, 3)).astype(np.float32)
    file = write(tmp_path / "maps.npz", count=2, features=maps)
    probe.main([file, file, "--shots=all"])
    assert "12 features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("cat", "dgo")}, "no training images of class 'dgo': did you mean dog"),
        ({"size": 6}, "the features differ: 5 of layer 'stage3' and 6 of 'stage3'"),
        ({"layer": "stage2"}, "the features differ: 5 of layer 'stage3' and 5 of 'stage2'"),
        ({"features": np.full((24, 5), np.nan)}, "not finite"),
        ({"features": np.zeros((23, 5))}, "holds no features"),
        ({"features": np.zeros((24, 5), int)}, "holds no features"),
        ({"features": np.zeros((0, 5)), "files": np.zeros(0, "U1")}, "holds no features"),
    ],
)
def test_files_that_do_not_fit_are_answered(tmp_path, files, changes, message):
    with pytest.raises(UserError, match=message):
        probe.main([files[0], write(tmp_path / "other.npz", **changes)])


def test_mistakes_are_user_errors(tmp_path, files):
    (tmp_path / "text.npz").write_text("no archive")
    one = write(tmp_path / "one.npz", classes=("cat",))
    for flags, message in (
        ([str(tmp_path / "none.npz"), files[1]], "cannot read .*none.npz: No such file"),
        ([str(tmp_path / "text.npz"), files[1]], "cannot read .*text.npz: .*damaged"),
        ([one, files[1]], "all training images are in one folder, 'cat'"),
        ([*files, "--shots=9"], "--shots=9: class cat has 8 training images"),
        ([*files, "--shots=1,x"], "--shots=1,x: give whole numbers or all"),
        ([*files, "--shots=0"], "--shots=0: give whole numbers or all"),
        ([*files, "--draws=0"], "--draws=0: give 1 or more"),
        ([files[0]], "TEST"),
    ):
        with pytest.raises(UserError, match=message):
            probe.main(flags)
