"""GoogLeNet ("Going Deeper with Convolutions", §6), with the Caffe reproduction's recipe.

The paper gives momentum 0.9, the crops, photometric distortions, auxiliary heads with weight 0.3
and a rate that falls by 4 % every 8 epochs, but nothing else. From Caffe's "quick" solver: 2.4
million steps with batch size 32, rate 0.01 times the square root of the remaining share, decay
2e-4. Tested on 144 crops; torchvision's form on one, like its published figures.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a GoogLeNet."""
    small = common.small(**common.WITHOUT_NORM if model == "googlenet" else {})
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe, and Caffe's where the paper has none."""
    config.model.overrides.aux_heads = True
    config.train.update(length="2400000steps", batch_size=32)
    config.optimizer.weight_decay = 2e-4
    config.schedule.update(name="polynomial", power=0.5)
    config.schedule.update(learning_rate=0.01, reference_batch=32)
    config.loss.aux_weight = 0.3
    config.data.photometric = 1.0
    if config.model.name != "googlenet_torchvision":
        config.eval.protocol = "googlenet144"
