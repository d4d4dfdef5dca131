"""VGG ("Very Deep Convolutional Networks for Large-Scale Image Recognition", §3).

74 epochs with batch size 256, momentum 0.9, decay 5e-4, rate 0.01 with three drops on the plateau
of the validation error, 224 crops of an image with short side 256 (`--config.data.scale_range` sets
the paper's 256 to 512), flip, lighting; tested densely at the training scale, Q = S = 256 (trained
at 256 to 512, the paper uses `--config.eval.scales="(256,384,512)"`). The nets with batch
normalisation are torchvision's and tested on one crop. Our nets use He initialisation. The paper
initialised the deeper ones, B to E, with four convolutions and the dense layers of net A, which
configs/vgg11.py trains:

  --config=configs/vgg16.py --config.init_from=runs/vgg11-digits --config.init_map=vgg_a
  --config.model.kernel_init=normal_0.1 --config.model.overrides.dense_init=normal_0.1
  --config.model.overrides.classifier_init=normal_0.1
"""

from typing import Any

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

# Deep nets without normalisation need more steps.
DIGITS = {
    "vgg13": Digits(32, 12),
    "vgg16": Digits(32, 12),
    "vgg16_1x1": Digits(32, 12),
    "vgg19": Digits(32, 20),
}


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a VGG."""
    if model.endswith("_bn"):
        fields: dict[str, Any] = {"rate": 1e-3}
    elif model.startswith("vgg11"):
        fields = common.WITHOUT_NORM
    else:  # the deeper nets need a lower rate than net A
        fields = common.WITHOUT_NORM | {"digits_rate": 0.0}
    small = common.small(also=common.narrow, digits=DIGITS.get(model, Digits()), **fields)
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(train_crop="scale_jitter", scale_range=(256, 256), lighting=0.1)
    config.train.update(length="74epochs", batch_size=256)
    config.optimizer.weight_decay = 5e-4
    config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=256)
    if not config.model.name.endswith("_bn"):
        config.eval.protocol = "dense"
