"""ResNet v2 ("Identity Mappings in Deep Residual Networks", §4 and its appendix).

ImageNet: 90 epochs with batch size 256 as in fb.resnet, 224 crops in training, one of 320 in
evaluation; ours: of an image with short side 320. CIFAR: as for ResNet, but the deep networks warm
up for 400 steps and nothing is held out.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common, resnet
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "resnet152_v2": Digits(scan_units=True),
    "resnet200_v2": Digits(scan_units=True),
    "cifar_resnet110_v2": Digits(scan_units=True),
    "cifar_resnet164_v2": Digits(scan_units=True),
    "cifar_resnet1001_v2": Digits(8, 8, scan_units=True, zero_init_last=True),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a ResNet v2."""
    digits = DIGITS.get(model, Digits())
    if model.startswith("cifar_"):
        return common.Recipes(common.small(folder=0, digits=digits), common.cifar(cifar))
    return common.Recipes(common.small(digits=digits), {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    common.fb_resnet(config)
    config.data.update(eval_image_size=320, resize=320)


def cifar(config: ConfigDict) -> None:
    """Sets ResNet's recipe, without a validation part and the mean image."""
    resnet.cifar(config)
    config.data.update(holdout=0, preprocess="channels")
