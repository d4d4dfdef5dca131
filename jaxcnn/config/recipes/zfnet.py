"""ZFNet ("Visualizing and Understanding Convolutional Networks", §3).

70 epochs with batch size 128, momentum 0.9, rate 0.01 with drops on the plateau of the validation
error, random crops of an image with short side 256, flip; first-layer filters whose root mean
square exceeds 0.1 are scaled to it; tested on ten crops. Ours: AlexNet's decay, because the paper
names none, the channel mean instead of the mean image, random crops instead of ten per image in
training.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a ZFNet."""
    small = common.small(64, also=common.narrow, **common.WITHOUT_NORM)
    return common.Recipes(small, {"imagenet2012": imagenet})


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(train_crop="scale_jitter", scale_range=(256, 256))
    config.train.update(length="70epochs", batch_size=128)
    config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
    config.optimizer.update(max_rms=0.1, max_rms_mask=("^stage.*kernel$",))
    config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=128)
    config.eval.protocol = "ten_crop"
