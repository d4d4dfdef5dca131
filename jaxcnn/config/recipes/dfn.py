"""Deeply-fused nets, with the recipe of the code released with DFN-MR.

CIFAR: 400 epochs with batch size 64, rate 0.1, drops after 1/2, 3/4 and 7/8 of them, flip and pad
4, Nesterov momentum, decay of all weights 1e-4.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a deeply-fused net."""
    return common.Recipes(common.small(folder=0), common.cifar(cifar))


def cifar(config: ConfigDict) -> None:
    """Sets the released code's recipe."""
    config.data.update(flip=True, pad=4)
    config.train.update(length="400epochs", batch_size=64)
    config.optimizer.update(nesterov=True, decay_mask=("",))
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=64)
    config.schedule.boundaries = ("200epochs", "300epochs", "350epochs")
