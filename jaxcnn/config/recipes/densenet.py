"""DenseNet ("Densely Connected Convolutional Networks", §4.2), with fb.resnet's augmentation.

ImageNet: 90 epochs with batch size 256, drops at 30 and 60. CIFAR: 300 epochs with batch size 64,
drops at half and three quarters, flip and pad 4 (without augmentation the paper adds dropout 0.2).
SVHN: 40 epochs, drops at 20 and 30, with the extra images, no augmentation, dropout 0.2, pixels in
[0, 1]. The paper reports the best epoch on 6,000 held-out images, which is our best checkpoint. It
does not say how they are drawn; ours are drawn without regard to class. Nesterov momentum, decay of
all weights 1e-4.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "densenet161": Digits(32, 5),
    "densenet201": Digits(32, 6, scan_units=True),
    "densenet_40_12": Digits(16, 8),
    "densenet_100_12": Digits(8, 8),
    "densenet_100_24": Digits(8, 5),
    "densenet_bc_100_12": Digits(16, 8),
    "densenet_bc_190_40": Digits(8, 5, scan_units=True),
    "densenet_bc_250_24": Digits(8, 5, scan_units=True),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a DenseNet."""
    digits = DIGITS.get(model, Digits())
    if model.startswith("densenet_"):
        papers = common.cifar(cifar) | {"svhn": svhn}
        return common.Recipes(common.small(folder=0, digits=digits), papers)
    papers = {"imagenet2012": imagenet} | common.cifar(cifar)
    return common.Recipes(common.small(digits=digits), papers)


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    common.fb_resnet(config)
    config.optimizer.nesterov = True


def cifar(config: ConfigDict) -> None:
    """Sets the paper's recipe with augmentation."""
    config.data.update(flip=True, pad=4)
    config.train.update(length="300epochs", batch_size=64)
    config.optimizer.update(nesterov=True, decay_mask=("",))
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=64)
    config.schedule.boundaries = ("150epochs", "225epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    cifar(config)
    config.model.overrides.dropout_rate = 0.2
    common.svhn_with_extra(config)
    config.data.update(mean=(0.0,), std=(1.0,), holdout=6000)
    config.train.length = "40epochs"
    config.schedule.boundaries = ("20epochs", "30epochs")
