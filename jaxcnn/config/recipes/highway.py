"""Highway networks ("Training Very Deep Networks", §3 and §4), with the authors' code's recipe.

On CIFAR: 200k steps with batch size 100, Nesterov momentum 0.9, rate 0.025 with drops at 100k, 150k
and 175k, decay 1e-3, flip and crops of the image padded by 8, contrast-normalised. Convolutions on
MNIST: 180k steps of 100, rate 0.01 with drops at 60k and 120k, pixels in [0, 1], no augmentation,
all from the code, which has only the network of 32 maps. Ours: the classifier has the common decay,
not ten times it; the dense networks of the study, with random rates in the paper, use AdamW.

`--config.model.overrides.highway=False` is the plain twin of a dense network.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

CIFAR_DIGITS = Digits(16, 16)  # deep and without normalisation they need more steps


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a highway network."""
    if model.startswith("highway_cifar"):
        small = common.small(rate=1e-3, folder=0, kernel_init="he_normal", digits=CIFAR_DIGITS)
        return common.Recipes(small, common.cifar(cifar))
    small = common.small(28, rate=3e-3, folder=0, also=longer, sets=common.GREY)
    return common.Recipes(small, {"mnist": mnist} if model.startswith("highway_mnist") else {})


def cifar(config: ConfigDict) -> None:
    """Sets the code's recipe."""
    config.data.update(flip=True, pad=8, preprocess="gcn")
    config.train.update(length="200000steps", batch_size=100)
    config.optimizer.update(nesterov=True, weight_decay=1e-3, lr_multipliers=(common.BIASES,))
    config.schedule.update(name="step", learning_rate=0.025, reference_batch=100)
    config.schedule.boundaries = ("100000steps", "150000steps", "175000steps")


def mnist(config: ConfigDict) -> None:
    """Sets the code's recipe for the network of 32 maps."""
    config.data.update(mean=(0.0,), std=(1.0,))
    config.train.update(length="180000steps", batch_size=100)
    config.optimizer.update(nesterov=True, weight_decay=1e-3, lr_multipliers=(common.BIASES,))
    config.schedule.update(name="step", learning_rate=0.01, reference_batch=100)
    config.schedule.boundaries = ("60000steps", "120000steps")


def longer(config: ConfigDict) -> None:
    """Sets 30 epochs for images of one channel."""
    config.data.channels = 1
    config.train.length = "30epochs"
    if config.model.name == "highway_fc100":  # gates at -2 pass 3e-6 of the input
        config.model.overrides.gate_bias = -4.0
