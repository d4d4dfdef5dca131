"""Ladder networks ("Semi-Supervised Learning with Ladder Networks", §4.1).

Adam at 0.002, falling linearly to 0 in the last third, batches of 100 labelled and 100 unlabelled
images, no augmentation; on MNIST 100 labels and 150 epochs. Ours: the lengths on digits.

`--config.model.overrides.decoder=False` is the same network without the ladder. To train it only on
labelled examples, also set `--config.data.unlabelled_per_labelled=0 --config.train.batch_size=100`
and the lengths in steps, because an epoch is then a pass over 100 images.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a Ladder network of dense layers."""
    ours = {"digits": digits, "synthetic": digits, "fashion_mnist": mnist}
    return common.Recipes(ours, {"mnist": mnist})


def semi_supervised(config: ConfigDict) -> None:
    """Sets the fields that both Ladder networks share."""
    config.model.overrides.decoder = True
    config.data.update(labelled=100, unlabelled_per_labelled=1)
    config.train.batch_size = 200
    config.optimizer.update(name="adam", weight_decay=0.0)
    config.schedule.update(name="polynomial", learning_rate=0.002)
    config.schedule.update(warmup_kind="constant", warmup_fraction=1.0)


def digits(config: ConfigDict) -> None:
    """Sets the paper's recipe with our length."""
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
