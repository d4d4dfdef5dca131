"""MobileNet ("MobileNets: Efficient Convolutional Neural Networks", §3.2).

RMSProp as for Inception v3, little augmentation, no decay of depthwise kernels. The paper gives
neither length nor batch size: 200 epochs with batch size 512 are ours.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

# These need more steps than others.
DIGITS = {
    "mobilenet_v1_025": Digits(64, 30),
    "mobilenet_v1_050": Digits(64, 20),
    "mobilenet_v1_075": Digits(64, 20),
    "mobilenet_v1_100": Digits(64, 20),
    "mobilenet_v1_shallow": Digits(64, 20),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a MobileNet."""
    small = common.small(digits=DIGITS.get(model, Digits()))
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(mean=(0.5,) * 3, std=(0.5,) * 3)
    common.rmsprop(config, batch_size=512)
    config.train.length = "200epochs"
    config.optimizer.decay_mask = (r"^(?!.*depthwise).*kernel$",)
