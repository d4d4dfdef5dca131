"""Ladder networks ("Semi-Supervised Learning with Ladder Networks", §4.1).

Adam at 0.002, whose last third falls linearly to 0, batches of 100 images with label and 100
without, nothing augmented; labels of 100 images of MNIST and 150 epochs. Ours: the lengths on
digits.

The same network without the ladder is `--config.model.overrides.decoder=False`; on the labelled
examples alone also `--config.data.unlabelled_per_labelled=0 --config.train.batch_size=100` and the
lengths in steps, an epoch then being a pass over 100 images.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a Ladder network of dense layers."""
    ours = {"digits": digits, "synthetic": digits, "fashion_mnist": mnist}
    return common.Recipes(ours, {"mnist": mnist})


def semi_supervised(config: ConfigDict) -> None:
    """Sets what both Ladder networks share."""
    config.model.overrides.decoder = True
    config.data.update(labelled=100, unlabelled_per_labelled=1)
    config.train.batch_size = 200
    config.optimizer.update(name="adam", weight_decay=0.0)
    config.schedule.update(name="polynomial", learning_rate=0.002)
    config.schedule.update(warmup_kind="constant", warmup_fraction=1.0)


def digits(config: ConfigDict) -> None:
    """Sets the paper's recipe with a length of ours."""
    semi_supervised(config)
    config.data.update(image_size=28, channels=1, mean=(0.0,), std=(1.0,))
    config.train.length = "60epochs"
    config.schedule.warmup = "40epochs"
    config.eval.every = config.checkpoint.every = "10epochs"
    config.log.every = "10epochs"


def mnist(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    semi_supervised(config)
    config.data.update(mean=(0.0,), std=(1.0,))
    config.train.length = "150epochs"
    config.schedule.warmup = "100epochs"
