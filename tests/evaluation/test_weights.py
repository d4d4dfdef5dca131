"""Trained weights are evaluated on data whose classes are theirs under other names."""

import csv

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
from tests.pretrained.small import cache, small  # noqa: F401


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
