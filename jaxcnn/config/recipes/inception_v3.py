"""Inception v2 and v3 ("Rethinking the Inception Architecture", §8).

RMSProp with decay 0.9 and ε = 1, momentum 0.9 (released code), rate 0.045 falling by 6 % every two
epochs, decay 4e-5, moving average of the weights 0.9999, gradients clipped at norm 2. v3 also has
label smoothing 0.1 and an auxiliary head with weight 0.4 (released code). Crops and colour
distortions as in the released code. The paper trains 50 asynchronous replicas with batch size 32;
ours is one synchronous batch of as many images at the same rate. Length: 100 epochs. Tested on one
crop; the paper also has 144 (`--config.eval.protocol=googlenet144`).
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of an Inception v2 or v3."""
    return common.Recipes(common.small(96, folder=299), {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    released(config, batch_size=1600)
    config.optimizer.clip_norm = 2.0
    if config.model.name == "inception_v3":
        config.loss.update(label_smoothing=0.1, aux_weight=0.4)
        config.model.overrides.aux_heads = True


def released(config: ConfigDict, batch_size: int) -> None:
    """Sets the fields that v3 shares with v4 and the Inception-ResNets."""
    config.data.update(image_size=299, resize=342, mean=(0.5,) * 3, std=(0.5,) * 3)
    config.data.photometric = 1.0
    common.rmsprop(config, batch_size)
    config.train.length = "100epochs"
