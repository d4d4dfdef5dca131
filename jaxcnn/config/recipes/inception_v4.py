"""Inception-v4 and the Inception-ResNets ("Inception-v4, Inception-ResNet …", §5).

RMSProp, rate, decay, averages, crops and colours as for Inception v3, label smoothing 0.1, no
gradient clipping. The paper trains 20 asynchronous replicas with batch size 32; ours is one
synchronous batch of as many images at the same rate. Ours: v3's length, 100 epochs. Tested on one
crop; the paper also has 144 (`--config.eval.protocol=googlenet144`).
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common, inception_v3
from jaxcnn.config.recipes.common import Digits

# At 107 pixels the last modules of v4 have 2x2 maps. At 80 they have one pixel, and 12 epochs ended
# at a test accuracy of 88.9 %.
DIGITS = {
    "inception_v4": Digits(107, 8, scan_units=True),
    "inception_resnet_v1": Digits(scan_units=True),
    "inception_resnet_v2": Digits(80, 6, scan_units=True),
    "inception_resnet_v2_paper": Digits(80, 8, scan_units=True),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of an Inception-v4 or Inception-ResNet."""
    small = common.small(96, folder=299, digits=DIGITS[model])
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    inception_v3.released(config, batch_size=640)
    config.loss.label_smoothing = 0.1
