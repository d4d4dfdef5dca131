"""Wide ResNet ("Wide Residual Networks", §3).

CIFAR: 200 epochs with batch size 128, Nesterov momentum, rate 0.1 that falls to a fifth at 60, 120
and 160, decay 5e-4, flip and crops of the image reflected by 4
(`--config.model.overrides.dropout_rate=0.3` is the paper's dropout). SVHN, for WRN-16-8: 160
epochs, rate 0.01 that falls to a tenth at 80 and 120, dropout 0.4, pixels in [0, 1], no
augmentation, with the extra images. ImageNet: as in fb.resnet. Ours: BatchNorm scales start at 1,
where torch drew them from U(0, 1).
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "wrn_16_8": Digits(16, 8),
    "wrn_22_8": Digits(16, 8),
    "wrn_40_4": Digits(16, 8),
    "wrn_40_8": Digits(8, 5),
    "wrn_28_10": Digits(8, 5),
    "wrn_28_12": Digits(8, 5),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a Wide ResNet."""
    if model.startswith("wrn_"):
        small = common.small(folder=0, digits=DIGITS.get(model, Digits()))
        return common.Recipes(small, common.cifar(cifar) | {"svhn": svhn})
    return common.Recipes(common.small(), {"imagenet2012": common.fb_resnet})


def cifar(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(flip=True, pad=4, pad_mode="reflect")
    config.train.update(length="200epochs", batch_size=128)
    config.optimizer.update(nesterov=True, weight_decay=5e-4, decay_mask=("",))
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128, factor=0.2)
    config.schedule.boundaries = ("60epochs", "120epochs", "160epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the paper's recipe for WRN-16-8."""
    cifar(config)
    config.model.overrides.dropout_rate = 0.4
    common.svhn_with_extra(config)
    config.data.update(mean=(0.0,), std=(1.0,))
    config.train.length = "160epochs"
    config.schedule.update(learning_rate=0.01, factor=0.1)
    config.schedule.boundaries = ("80epochs", "120epochs")
