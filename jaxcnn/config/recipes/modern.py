"""A residual network with torchvision's recipe of 2021, which produced its V2 weights.

SGD with momentum 0.9, 600 epochs with batch size 1024, rate 0.5 from a hundredth of it over 5
epochs and then along a cosine, decay 2e-5 except for BatchNorm, label smoothing 0.1,
TrivialAugment, mixup 0.2 or CutMix 1, erasing in a tenth of the images, four views of each example
in a batch; trained at 176, tested at 224 from a short side of 232. Its averages have decay 1 -
0.00109 every 32 steps; ours have 1 - 0.000034 each step. Ours: each image draws its own mixing
share, not each batch. Smaller data have our own short recipe with mixing, erasing and averages.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a residual network with modern training."""
    return common.Recipes(common.small(also=averaged), {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets torchvision's recipe."""
    mixed(config)
    config.data.update(image_size=176, eval_image_size=224, resize=232)
    config.data.update(auto_augment="trivialaugment", repeats=4)
    config.train.update(length="600epochs", batch_size=1024, ema_decay=1 - 3.4e-5)
    config.optimizer.update(weight_decay=2e-5, decay_mask=("kernel$", "^classifier/"))
    config.schedule.update(name="cosine", learning_rate=0.5, reference_batch=1024)
    config.schedule.update(warmup="5epochs", warmup_fraction=0.01)


def mixed(config: ConfigDict) -> None:
    """Adds label smoothing, mixing and erasing."""
    config.loss.label_smoothing = 0.1
    config.data.update(mixup=0.2, cutmix=1.0, random_erasing=0.1)
    config.data.update(random_erasing_area=(0.02, 0.33), random_erasing_fill="mean")


def averaged(config: ConfigDict) -> None:
    """Adds the same, and averages that suit a short run."""
    mixed(config)
    config.train.ema_decay = 0.999
