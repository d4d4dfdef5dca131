"""Trained weights are evaluated on data whose classes are theirs under other names."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.errors import UserError
from jaxcnn.evaluation import weights
from jaxcnn.evaluation.statistics import wilson
from jaxcnn.pretrained.weights_info import imagenet_classes, imagenet_synsets
from tests.pretrained.small import cache, small, table  # noqa: F401


def test_classes_are_found_by_name_number_or_synset():
    assert weights.class_places(["b", "a"], ["a", "b", "c"]) == [1, 0]
    assert weights.class_places(["2", "0"], ["a", "b", "c"]) == [2, 0]
    some = [imagenet_synsets()[place] for place in (7, 999, 3)]
    assert weights.class_places(some, imagenet_classes()) == [7, 999, 3]
    with pytest.raises(UserError, match="a class 'd', which is none of the weights'"):
        weights.class_places(["a", "d"], ["a", "b", "c"])


def test_a_part_of_the_outputs_is_the_network_s_own():
    params = {"classifier": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.arange(3.0)}}
    found = weights.of_classes({"params": params, "batch_stats": {}}, [2, 0])
    np.testing.assert_array_equal(found["params"]["classifier"]["kernel"], [[2, 0], [5, 3]])
    np.testing.assert_array_equal(found["params"]["classifier"]["bias"], [2, 0])


def folder_of_images(root, names, count=3):
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


def imagenet_images(root, right):
    """Writes images with ImageNet's numbers, and the labels `right` of each; returns the files."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(1, len(right) + 1):
        folder = root / "data" / ("n01440764", "n01443537")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / f"ILSVRC2012_val_{number:08}.JPEG")
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(files[-1])
    (root / "real.json").write_text(json.dumps(right))
    return files


def evaluate_several(small, root):  # noqa: F811
    config = recipes.recipe("resnet18", "folder")
    config.data.update(dir=str(root / "data"), num_workers=0)
    return weights.run_pretrained(small.name, freeze(config), labels=root / "real.json")


@pytest.mark.slow
def test_any_of_several_labels_is_right(small, tmp_path):  # noqa: F811
    """The folders' own classes mean nothing here, and the weights have 10."""
    right = [[number % 10, 3] for number in range(12)]
    right[4] = []
    files = imagenet_images(tmp_path, right)
    model = weights.trained.open_trained(small.name).found.model
    logits = jax.jit(model.apply)(small.variables, small.info.preprocess(files))
    answers = np.asarray(logits).argmax(1)
    right[0], right[1] = [int(answers[0])], [int(answers[1]) - 1, int(answers[1])]
    right[1] = [one % 10 for one in right[1]]
    (tmp_path / "real.json").write_text(json.dumps(right))
    row = evaluate_several(small, tmp_path).row
    hits = sum(answer in ones for answer, ones in zip(answers, right, strict=True))
    assert 2 <= hits < 11
    assert (row["top1"], row["images"]) == (pytest.approx(hits / 11), 11)
    assert (row["labels"], row["classes"], row["published_top1"]) == ("real.json", 10, "")


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ({}, "is no list of labels"),
        ([], "is no list of labels"),
        ([[1], [10]], "numbers from 0 to 9"),
        ([[1], [True]], "is no list of labels"),
        ([[1]], "image 2 has no row among the labels of 1 images"),
        ([[], []], "none of the images has a label"),
    ],
)
def test_other_labels_are_refused(small, tmp_path, right, message):  # noqa: F811
    imagenet_images(tmp_path, [[0], [0]])
    (tmp_path / "real.json").write_text(json.dumps(right))
    with pytest.raises(UserError, match=message):
        evaluate_several(small, tmp_path)


def test_images_without_numbers_are_refused(small, tmp_path):  # noqa: F811
    imagenet_images(tmp_path, [[0], [0]])
    folder_of_images(tmp_path / "data", ["n01443537x"], count=1)
    with pytest.raises(UserError, match=r"0\.png has no number of an image"):
        evaluate_several(small, tmp_path)
    (tmp_path / "real.json").unlink()
    with pytest.raises(UserError, match=r"cannot read .*real\.json: No such file"):
        evaluate_several(small, tmp_path)


@pytest.mark.slow
def test_images_of_some_classes_are_compared_among_these(small, tmp_path):  # noqa: F811
    """Class folders named by the numbers of outputs, as in ImageNet-V2: 10 sorts before 2."""
    names = ["0", "2", "7", "9"]
    folder_of_images(tmp_path / "data", names)
    config = recipes.recipe("resnet18", "folder")
    config.data.update(dir=str(tmp_path / "data"), num_workers=0)
    found = weights.run_pretrained(small.name, freeze(config))
    files = [tmp_path / "data" / name / f"{number}.png" for name in names for number in range(3)]
    model = weights.trained.open_trained(small.name).found.model
    inputs = small.info.preprocess(files)
    logits = np.asarray(jax.jit(model.apply)(small.variables, inputs))[:, [0, 2, 7, 9]]
    hits = int((logits.argmax(1) == np.repeat(range(4), 3)).sum())
    assert found.row["top1"] == pytest.approx(hits / 12)
    assert found.row["images"] == 12
    assert found.row["classes"] == 4
    assert (found.row["low"], found.row["high"]) == pytest.approx(wilson(hits, 12))
    weights.append_row(tmp_path / "r.csv", found.row)
    weights.append_row(tmp_path / "r.csv", found.row)
    with (tmp_path / "r.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == second
    assert first["weights"] == small.name
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="has other columns"):
        weights.append_row(tmp_path / "x.csv", found.row)
