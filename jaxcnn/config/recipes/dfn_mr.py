"""DFN-MR ("On the Connection of Deep Fusion to Ensembling"), with the released code's recipe.

CIFAR: as for deeply-fused nets. ImageNet: 120 epochs with batch size 256, rate 0.1, drops every 30,
short side U[256, 480], 224 crop, flip, fb.resnet's colour augmentation instead of hue, saturation
and lightness, Nesterov momentum, decay of all weights 1e-4.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common, dfn
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "dfn_mr2": Digits(8, 8),
    "dfn_mr3": Digits(8, 5),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a DFN-MR."""
    if model == "dfn_mr_imagenet":
        return common.Recipes(common.small(), {"imagenet2012": imagenet})
    small = common.small(folder=0, digits=DIGITS.get(model, Digits()))
    return common.Recipes(small, common.cifar(dfn.cifar))


def imagenet(config: ConfigDict) -> None:
    """Sets the released code's recipe."""
    common.fb_resnet(config)
    config.data.update(train_crop="scale_jitter", scale_range=(256, 480))
    config.train.length = "120epochs"
    config.optimizer.nesterov = True
    config.schedule.boundaries = ("30epochs", "60epochs", "90epochs")
