"""ResNet with stochastic depth ("Deep Networks with Stochastic Depth", §4).

CIFAR: 500 epochs with batch size 128, Nesterov momentum, drops at 250 and 375, decay of all weights
1e-4, 45k/5k split, flip and pad 4. The paper reports the best epoch on the 5,000 images, which is
our best checkpoint. No warm-up, and the mean image is subtracted, as in the released code. SVHN,
for the network of 152 layers: 50 epochs of training and extra images, drops at 30 and 35, no
augmentation, evaluated every 200 steps; 400 training and 200 extra images of each class are held
out. Ours: division by each channel's deviation, not by a single one; convolution initialisation
with the variance of the fan-out; BatchNorm scales that start at 1, where torch drew them from U(0,
1).
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
    """Sets the paper's recipe for the network of 152 layers."""
    cifar(config)
    common.svhn_with_extra(config)
    common.hold_out_svhn(config)
    config.train.length = "50epochs"
    config.schedule.boundaries = ("30epochs", "35epochs")
    config.eval.every = "200steps"
