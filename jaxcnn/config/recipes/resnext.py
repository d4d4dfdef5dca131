"""ResNeXt ("Aggregated Residual Transformations for Deep Neural Networks", §4 and §5.3).

ImageNet: 90 epochs with batch size 256 as in fb.resnet. CIFAR: 300 epochs with batch size 128,
drops at 150 and 225, decay 5e-4, flip and pad 4.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "resnext101_64x4d": Digits(scan_units=True),
    "resnext29_8x64d": Digits(8, 8),
    "resnext29_16x64d": Digits(8, 5),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a ResNeXt."""
    if model.startswith("resnext29"):
        small = common.small(folder=0, digits=DIGITS.get(model, Digits()))
        return common.Recipes(small, common.cifar(cifar))
    small = common.small(digits=DIGITS.get(model, Digits()))
    return common.Recipes(small, {"imagenet2012": common.fb_resnet})


def cifar(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(flip=True, pad=4)
    config.train.update(length="300epochs", batch_size=128)
    config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
    config.schedule.boundaries = ("150epochs", "225epochs")
