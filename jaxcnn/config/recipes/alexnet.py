"""AlexNet ("ImageNet Classification with Deep Convolutional Neural Networks", §4 and §5).

About 90 epochs with batch size 128, momentum 0.9, decay 5e-4 of all weights, rate 0.01 with three
drops on the plateau of the validation error, random crops of an image with short side 256, flip,
lighting; tested on ten crops. Ours: the channel mean instead of the mean image. torchvision's form
is tested on one crop, like its published figures.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common

OF_THE_PAPER = ("alexnet", "alexnet_one_tower")


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of an AlexNet."""
    small = common.small(64, also=common.narrow, **common.WITHOUT_NORM)
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(image_size=227 if config.model.name in OF_THE_PAPER else 224)
    config.data.update(train_crop="scale_jitter", scale_range=(256, 256), resize=256)
    config.data.lighting = 0.1
    config.train.update(length="90epochs", batch_size=128)
    config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
    config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=128)
    if config.model.name != "alexnet_torchvision":
        config.eval.protocol = "ten_crop"
