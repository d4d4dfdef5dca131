"""ResNet with stochastic depth ("Deep Networks with Stochastic Depth", §4).

CIFAR: 500 epochs of 128, Nesterov momentum, drops at 250 and 375, decay of all weights 1e-4, 45k/5k
split, flip and pad 4; the paper reports the epoch that is best on the 5,000, which is the
checkpoint kept as best. No warm-up, and the mean image is subtracted, as in the released code.
SVHN, of the network of 152 layers: 50 epochs of the training and the extra images, drops at 30 and
35, nothing augmented, evaluated every 200 steps; 400 of each class are held out of the former and
200 of the latter. Ours: the division by each channel's deviation, not by a single one; the start of
convolutions, whose variance goes by the fan-out; and scales of BatchNorm that start at 1, where
torch drew them from U(0, 1).
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "cifar_resnet110_sd": Digits(scan_units=True),
    "cifar_resnet1202_sd": Digits(8, 8, scan_units=True, zero_init_last=True),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a ResNet with stochastic depth."""
    small = common.small(folder=0, digits=DIGITS[model])
    return common.Recipes(small, common.cifar(cifar) | {"svhn": svhn})


def cifar(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(flip=True, pad=4, holdout=5000, preprocess="mean_image")
    config.train.update(length="500epochs", batch_size=128)
    config.optimizer.update(nesterov=True, decay_mask=("",))
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
    config.schedule.boundaries = ("250epochs", "375epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the paper's recipe of the network of 152 layers."""
    cifar(config)
    common.svhn_with_extra(config)
    common.hold_out_svhn(config)
    config.train.length = "50epochs"
    config.schedule.boundaries = ("30epochs", "35epochs")
    config.eval.every = "200steps"
