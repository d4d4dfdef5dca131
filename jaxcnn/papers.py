"""The papers' recipes: one function for each family, from a network's name to a config.

A file in `configs/` is one call: `papers.densenet("densenet121", dataset)`. Each function knows the
data sets of its paper, and a short recipe of ours for `digits`, `synthetic` and `folder`.
"""

import re
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from jaxcnn.errors import UserError, nearest
from jaxcnn.recipes import DATASETS, base_config

Recipe = Callable[[ConfigDict], None]
Recipes = dict[str, Recipe]


def _start(model: str, dataset: str, recipes: Mapping[str, Recipe]) -> ConfigDict:
    """Base, data set, then the family's recipe for that data set."""
    if dataset not in recipes:
        raise UserError(f"{model} has no recipe for {dataset!r}: {nearest(dataset, recipes)}")
    config = base_config()
    config.model.name = model
    config.dataset = dataset
    DATASETS[dataset](config)
    recipes[dataset](config)
    return config


def _small(
    size: int = 32, rate: float = 2e-3, folder: int = 224, also: Recipe | None = None
) -> Recipes:
    """Ours, for a laptop: AdamW and a cosine, 8 epochs of 64.

    Args:
      size: of digits and synthetic images, which the network needs to have something left.
      rate: peak of the learning rate; networks without BN need a smaller one.
      folder: size of photographs; 0 for networks that are not made for them.
      also: what else is to be set.
    """

    def short(config: ConfigDict) -> None:
        config.train.update(length="8epochs", batch_size=64)
        config.optimizer.update(name="adamw", weight_decay=0.05)
        config.schedule.update(name="cosine", learning_rate=rate, warmup="1epochs")

    def digits(config: ConfigDict) -> None:
        """Shifts instead of flips: a mirrored digit is no digit."""
        short(config)
        config.data.update(image_size=size, pad=size // 16)
        if also is not None:
            also(config)

    def photographs(config: ConfigDict) -> None:
        """A few thousand of them."""
        short(config)
        config.data.image_size = folder
        config.train.update(length="30epochs", batch_size=32)
        config.log.every = "10steps"

    recipes: Recipes = {"digits": digits, "synthetic": digits}
    return recipes | {"folder": photographs} if folder else recipes


def _cifar(recipe: Recipe) -> Recipes:
    """The same for ten and for a hundred classes."""
    return {"cifar10": recipe, "cifar100": recipe}


# The papers' recipes ----------------------------------------------------------------------------


def lenet(model: str, dataset: str = "digits") -> ConfigDict:
    """LeNet-5 in today's form: SGD with momentum and a cosine instead of the paper's schedule."""

    def digits(config: ConfigDict) -> None:
        config.data.pad = 2
        config.train.length = "60epochs"
        config.optimizer.nesterov = True
        config.schedule.update(name="cosine", learning_rate=0.05, warmup="2epochs")
        config.eval.every = config.checkpoint.every = "10epochs"
        config.log.every = "100steps"

    def synthetic(config: ConfigDict) -> None:
        digits(config)
        config.data.channels = 1

    return _start(model, dataset, {"digits": digits, "synthetic": synthetic})


def alexnet(model: str, dataset: str = "digits") -> ConfigDict:
    """AlexNet ("ImageNet Classification with Deep Convolutional Neural Networks", §4 and §5).

    About 90 epochs of 128, momentum 0.9, decay 5e-4 of all weights, rate 0.01 with three drops on
    the plateau of the validation error, random crops of an image with short side 256, flip,
    lighting. Ours: the channel mean instead of the mean image; one crop is tested, not ten.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(image_size=227 if model in PAPER_ALEXNETS else 224)
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256), resize=256)
        config.data.lighting = 0.1
        config.train.update(length="90epochs", batch_size=128)
        config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
        config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=128)

    return _start(model, dataset, _small(64, rate=3e-4) | {"imagenet2012": imagenet})


PAPER_ALEXNETS = ("alexnet", "alexnet_one_tower")


def vgg(model: str, dataset: str = "digits") -> ConfigDict:
    """VGG ("Very Deep Convolutional Networks for Large-Scale Image Recognition", §3).

    74 epochs of 256, momentum 0.9, decay 5e-4, rate 0.01 with three drops on the plateau of the
    validation error, 224 crops of an image with short side 256 (`--config.data.scale_range` makes
    it the paper's 256 to 512), flip, lighting. The paper started the deeper nets from net A; here
    they start from He initialisation.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256), lighting=0.1)
        config.train.update(length="74epochs", batch_size=256)
        config.optimizer.weight_decay = 5e-4
        config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=256)

    def narrow(config: ConfigDict) -> None:
        """With 4096 units the two hidden layers are 119 of 138 million parameters."""
        config.model.overrides.hidden_features = (512, 512)

    small = _small(rate=1e-3 if model.endswith("_bn") else 3e-4, also=narrow)
    return _start(model, dataset, small | {"imagenet2012": imagenet})


def googlenet(model: str, dataset: str = "digits") -> ConfigDict:
    """GoogLeNet ("Going Deeper with Convolutions", §6), as the Caffe reproduction trained it.

    The paper gives momentum 0.9, the crops, the auxiliary heads with weight 0.3 and a rate that
    falls by 4 % every 8 epochs, and leaves the rest open. Of Caffe's "quick" solver: 2.4 million
    steps of 32, rate 0.01 falling with the square root of what is left, decay 2e-4.
    """

    def imagenet(config: ConfigDict) -> None:
        config.model.overrides.aux_heads = True
        config.train.update(length="2400000steps", batch_size=32)
        config.optimizer.weight_decay = 2e-4
        config.schedule.update(name="polynomial", power=0.5)
        config.schedule.update(learning_rate=0.01, reference_batch=32)
        config.loss.aux_weight = 0.3

    small = _small(rate=3e-4 if model == "googlenet" else 2e-3)
    return _start(model, dataset, small | {"imagenet2012": imagenet})


def bn_inception(model: str, dataset: str = "digits") -> ConfigDict:
    """BN-Inception ("Batch Normalization: Accelerating Deep Network Training", §4.2), BN-x30.

    Batches of 32, rate 0.045 that falls six times as fast as GoogLeNet's, a fifth of its decay, no
    dropout, 6 million steps. Ours: the crops of GoogLeNet without its photometric distortions.
    """

    def imagenet(config: ConfigDict) -> None:
        config.model.overrides.dropout_rate = 0.0
        config.train.update(length="6000000steps", batch_size=32)
        config.optimizer.weight_decay = 4e-5
        config.schedule.update(name="exponential", factor=0.96, every="1.333epochs")
        config.schedule.update(learning_rate=0.045, reference_batch=32)

    return _start(model, dataset, _small() | {"imagenet2012": imagenet})


def inception(model: str, dataset: str = "digits") -> ConfigDict:
    """Inception v2 and v3 ("Rethinking the Inception Architecture", §8), v4 and Inception-ResNet.

    RMSProp with decay 0.9 and ε = 1, momentum 0.9 (released code), rate 0.045 falling by 6 % every
    two epochs, decay 4e-5, moving average of the weights 0.9999; v3 also label smoothing 0.1, an
    auxiliary head with weight 0.4 (released code) and gradients clipped at norm 2. The papers train
    50 (v4: 20) asynchronous replicas with batches of 32: here one synchronous batch of as many
    images at the same rate. Length: 100 epochs in the paper of v3, the same here for v4.
    """
    third = model in ("inception_v2", "inception_v3")

    def imagenet(config: ConfigDict) -> None:
        config.data.update(image_size=299, resize=342, mean=(0.5,) * 3, std=(0.5,) * 3)
        _rmsprop(config, batch_size=1600 if third else 640)
        config.train.length = "100epochs"
        if third:
            config.optimizer.clip_norm = 2.0
        if model != "inception_v2":
            config.loss.label_smoothing = 0.1
        if model == "inception_v3":
            config.model.overrides.aux_heads = True
            config.loss.aux_weight = 0.4

    return _start(model, dataset, _small(96, folder=299) | {"imagenet2012": imagenet})


def mobilenet(model: str, dataset: str = "digits") -> ConfigDict:
    """MobileNet ("MobileNets: Efficient Convolutional Neural Networks", §3.2).

    RMSProp as for Inception v3, little augmentation, no decay of the depthwise kernels. The paper
    gives neither length nor batch: 200 epochs of 512 are ours.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(mean=(0.5,) * 3, std=(0.5,) * 3)
        _rmsprop(config, batch_size=512)
        config.train.length = "200epochs"
        config.optimizer.decay_mask = (r"^(?!.*depthwise).*kernel$",)

    return _start(model, dataset, _small() | {"imagenet2012": imagenet})


def resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet ("Deep Residual Learning", §3.4 and §4.2) and its plain twins.

    ImageNet: 600k steps of 256, a drop whenever the validation error stops, short side U[256, 480],
    224 crop, flip, lighting, decay of all weights 1e-4. Ours: the channel mean instead of the
    per-pixel mean. CIFAR: 64k steps of 128, drops at 32k and 48k, 45k/5k split, pad 4; the networks
    of 110 layers and more start at a tenth of the rate.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 480), lighting=0.1)
        config.train.update(length="600000steps", batch_size=256)
        config.schedule.update(name="plateau", learning_rate=0.1, reference_batch=256)
        config.optimizer.decay_mask = ("",)

    if model.startswith("cifar_"):
        return _start(model, dataset, _small(folder=0) | _cifar(_cifar_resnet))
    papers = {"imagenet2012": imagenet} | _cifar(_cifar_resnet)
    return _start(model, dataset, _small() | papers)


def preact_resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet v2 ("Identity Mappings in Deep Residual Networks", §4 and its appendix).

    ImageNet: 90 epochs of 256 in fb.resnet's way. CIFAR: as ResNet, but the deep networks warm up
    for 400 steps and nothing is held out.
    """

    def cifar(config: ConfigDict) -> None:
        _cifar_resnet(config)
        config.data.holdout = 0

    if model.startswith("cifar_"):
        return _start(model, dataset, _small(folder=0) | _cifar(cifar))
    return _start(model, dataset, _small() | {"imagenet2012": _fb_resnet})


def wide_resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """Wide ResNet ("Wide Residual Networks", §3).

    CIFAR: 200 epochs of 128, Nesterov momentum, rate 0.1 that falls to a fifth at 60, 120 and 160,
    decay 5e-4, flip and crops of the image reflected by 4. ImageNet: in fb.resnet's way.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4, pad_mode="reflect")
        config.train.update(length="200epochs", batch_size=128)
        config.optimizer.update(nesterov=True, weight_decay=5e-4, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=128, factor=0.2)
        config.schedule.boundaries = ("60epochs", "120epochs", "160epochs")

    if model.startswith("wrn_"):
        return _start(model, dataset, _small(folder=0) | _cifar(cifar))
    return _start(model, dataset, _small() | {"imagenet2012": _fb_resnet})


def resnext(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNeXt ("Aggregated Residual Transformations for Deep Neural Networks", §4 and §5.3).

    ImageNet: 90 epochs of 256 in fb.resnet's way. CIFAR: 300 epochs of 128, drops at 150 and 225,
    decay 5e-4, flip and pad 4.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4)
        config.train.update(length="300epochs", batch_size=128)
        config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
        config.schedule.boundaries = ("150epochs", "225epochs")

    if model.startswith("resnext29"):
        return _start(model, dataset, _small(folder=0) | _cifar(cifar))
    return _start(model, dataset, _small() | {"imagenet2012": _fb_resnet})


def densenet(model: str, dataset: str = "digits") -> ConfigDict:
    """DenseNet ("Densely Connected Convolutional Networks", §4.2), with fb.resnet's augmentation.

    ImageNet: 90 epochs of 256, drops at 30 and 60. CIFAR: 300 epochs of 64, drops at half and three
    quarters, flip and pad 4 (without them the paper adds dropout 0.2). Nesterov momentum, decay of
    all weights 1e-4.
    """

    def imagenet(config: ConfigDict) -> None:
        _fb_resnet(config)
        config.optimizer.nesterov = True

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4)
        config.train.update(length="300epochs", batch_size=64)
        config.optimizer.update(nesterov=True, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=64)
        config.schedule.boundaries = ("150epochs", "225epochs")

    if model.startswith("densenet_"):
        return _start(model, dataset, _small(folder=0) | _cifar(cifar))
    return _start(model, dataset, _small() | {"imagenet2012": imagenet} | _cifar(cifar))


# What several papers share ----------------------------------------------------------------------


def _fb_resnet(config: ConfigDict) -> None:
    """fb.resnet.torch: 90 epochs of 256, drops at 30 and 60, colour jitter, lighting."""
    config.data.update(color_jitter=0.4, lighting=0.1)
    config.train.update(length="90epochs", batch_size=256)
    config.optimizer.decay_mask = ("",)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=256)
    config.schedule.boundaries = ("30epochs", "60epochs")


def _cifar_resnet(config: ConfigDict) -> None:
    """ResNet's 64k steps; from 110 layers on, 400 of them at a tenth of the rate."""
    config.data.update(flip=True, pad=4, holdout=5000)
    config.train.update(length="64000steps", batch_size=128)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
    config.schedule.boundaries = ("32000steps", "48000steps")
    config.optimizer.decay_mask = ("",)
    depth = re.fullmatch(r"cifar_[a-z]+(\d+)(?:_v2)?", config.model.name)
    if depth and int(depth[1]) >= 110:
        config.schedule.update(warmup="400steps", warmup_kind="constant", warmup_fraction=0.1)


def _rmsprop(config: ConfigDict, batch_size: int) -> None:
    """RMSProp as the Inception papers use it; see `inception`."""
    config.train.update(batch_size=batch_size, ema_decay=0.9999)
    config.optimizer.update(name="rmsprop", rms_decay=0.9, epsilon=1.0, momentum=0.9)
    config.optimizer.weight_decay = 4e-5
    config.schedule.update(name="exponential", learning_rate=0.045, factor=0.94, every="2epochs")
