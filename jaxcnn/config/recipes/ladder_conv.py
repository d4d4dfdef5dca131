"""The convolutional Ladder network ("Semi-Supervised Learning with Ladder Networks", §4.3).

As for the network of dense layers, but the rate falls in the last seventh; 4,000 labels of
CIFAR-10, contrast-normalised and whitened images, 70 epochs. Ours: the lengths on digits, and
smaller images and batches there.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common, ladder


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a convolutional Ladder network."""
    return common.Recipes({"digits": digits, "synthetic": digits}, {"cifar10": cifar10})


def digits(config: ConfigDict) -> None:
    """Sets small images and batches, and our length."""
    ladder.semi_supervised(config)
    config.data.image_size = 16
    config.train.update(length="4epochs", batch_size=64)
    config.schedule.warmup = "3epochs"


def cifar10(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    ladder.semi_supervised(config)
    config.data.update(labelled=4000, preprocess="zca")
    config.train.length = "70epochs"
    config.schedule.warmup = "60epochs"
