"""BN-Inception ("Batch Normalization: Accelerating Deep Network Training", §4.2), BN-x30.

Batch size 32, rate 0.045 that falls six times as fast as GoogLeNet's, a fifth of its decay, no
dropout, 6 million steps. The paper uses weaker colour distortions than GoogLeNet; ours are half as
strong. Tested on one crop, like the paper's variants; 144: `--config.eval.protocol=googlenet144`.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a BN-Inception."""
    return common.Recipes(common.small(), {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.model.overrides.dropout_rate = 0.0
    config.data.photometric = 0.5
    config.train.update(length="6000000steps", batch_size=32)
    config.optimizer.weight_decay = 4e-5
    config.schedule.update(name="exponential", factor=0.96, every="1.333epochs")
    config.schedule.update(learning_rate=0.045, reference_batch=32)
