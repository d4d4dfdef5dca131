"""ResNet ("Deep Residual Learning", §3.4 and §4.2) and its plain twins.

ImageNet: 600k steps with batch size 256, a drop when the validation error stops falling, short side
U[256, 480], 224 crop, flip, lighting, decay of all weights 1e-4; tested on ten crops (for the
paper's best figures `--config.eval.protocol=multi_scale_dense`). Ours: the channel mean instead of
the mean image, which CIFAR has. CIFAR: 64k steps with batch size 128, drops at 32k and 48k, 45k/5k
split, pad 4; networks of 110 layers and more start at a tenth of the rate.
"""

import re

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

# cifar_plain44 and 56, deep and without shortcuts, need more steps.
DIGITS = {
    "resnet152": Digits(epochs=12, scan_units=True),
    "resnet152_v1": Digits(epochs=12, scan_units=True),
    "cifar_plain44": Digits(32, 20),
    "cifar_plain56": Digits(16, 60),
    "cifar_plain110": Digits(scan_units=True),
    "cifar_resnet110": Digits(scan_units=True),
    "cifar_resnet1202": Digits(8, 8, scan_units=True, zero_init_last=True),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a ResNet or plain network."""
    small = common.small(
        folder=0 if model.startswith("cifar_") else 224, digits=DIGITS.get(model, Digits())
    )
    if model.startswith("cifar_"):
        return common.Recipes(small, common.cifar(cifar))
    return common.Recipes(small, {"imagenet2012": imagenet} | common.cifar(cifar))


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(train_crop="scale_jitter", scale_range=(256, 480), lighting=0.1)
    config.train.update(length="600000steps", batch_size=256)
    config.schedule.update(name="plateau", learning_rate=0.1, reference_batch=256)
    config.optimizer.decay_mask = ("",)
    config.eval.protocol = "ten_crop"


def cifar(config: ConfigDict) -> None:
    """Sets 64k steps; from 110 layers on, the first 400 have a tenth of the rate.

    The mean image is subtracted; dividing by the deviation is ours.
    """
    config.data.update(flip=True, pad=4, holdout=5000, preprocess="mean_image")
    config.train.update(length="64000steps", batch_size=128)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
    config.schedule.boundaries = ("32000steps", "48000steps")
    config.optimizer.decay_mask = ("",)
    depth = re.fullmatch(r"cifar_[a-z]+(\d+)(?:_v2)?", config.model.name)
    if depth and int(depth[1]) >= 110:
        config.schedule.update(warmup="400steps", warmup_kind="constant", warmup_fraction=0.1)
