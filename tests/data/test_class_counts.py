"""How many training examples the classes have."""

import dataclasses

import numpy as np
import pytest

from jaxcnn.config import build, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.data.dataset import class_counts, from_arrays, keep_labels
from jaxcnn.errors import UserError

LABELS = np.array([0, 2, 2, 0, 2, 1, 2, 1])


@pytest.fixture
def dataset():
    images = np.zeros((8, 4, 4, 1), np.uint8)
    return from_arrays("own", "train", images, LABELS, ("a", "b", "c", "d"))


def test_labels_in_memory_and_labels_that_are_read(dataset):
    read = dataclasses.replace(
        dataset, images=None, labels=None, label_of=lambda index: int(LABELS[index])
    )
    for each in (dataset, read):
        np.testing.assert_array_equal(class_counts(each), [2, 2, 4, 0])


def test_only_labels_that_training_may_use_count(dataset):
    known = keep_labels(dataclasses.replace(dataset, num_classes=3), 3, seed=0)
    np.testing.assert_array_equal(class_counts(known), [1, 1, 1])


def test_labels_that_cannot_be_read_alone_are_answered(dataset):
    lacking = dataclasses.replace(dataset, images=None, labels=None)
    with pytest.raises(UserError, match=r"cannot be read alone: set loss\.class_weights"):
        class_counts(lacking)


@pytest.mark.parametrize("balanced", ["balanced", ("balanced",)])
def test_balanced_losses_are_of_the_training_split(balanced, dataset):
    config = recipes.recipe("lenet5")
    with config.loss.ignore_type():
        config.loss.class_weights = balanced
    frozen = freeze(config)
    objective = build.make_loss(frozen, build.class_weights(frozen, dataset))
    plain = build.make_loss(freeze(recipes.recipe("lenet5")))
    logits = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    weights = np.array([8 / 6, 8 / 6, 8 / 12, 0])
    np.testing.assert_allclose(
        objective(logits, None, LABELS, 0.0),
        weights[LABELS] * plain(logits, None, LABELS, 0.0),
        rtol=1e-5,
    )
