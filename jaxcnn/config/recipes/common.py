"""What the recipes of several papers share."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxcnn.config.defaults import DATASETS, HOLDOUTS, base_config
from jaxcnn.errors import UserError, nearest

Recipe = Callable[[ConfigDict], None]
Recipes = dict[str, Recipe]


GREY = ("mnist", "fashion_mnist")
COLOUR = ("cifar10", "cifar100", "svhn")


# Unrolled they would not compile in 20 GB: one unit of each stage is compiled.
THOUSAND_LAYERS = re.compile(r"cifar_resnet1\d{3}")


def start(model: str, dataset: str, recipes: Mapping[str, Recipe]) -> ConfigDict:
    """Base, data set, then the family's recipe for that data set.

    A plateau goes by a validation part, which is held out wherever the size of the data is known.
    """
    if dataset not in recipes:
        raise UserError(f"{model} has no recipe for {dataset!r}: {nearest(dataset, recipes)}")
    config = base_config()
    config.model.name = model
    config.dataset = dataset
    DATASETS[dataset](config)
    recipes[dataset](config)
    if THOUSAND_LAYERS.match(model):
        config.model.overrides.scan_units = True
    held_out = config.data.holdout or config.data.holdout_per_class
    if config.schedule.name == "plateau" and not held_out:
        config.data.holdout = HOLDOUTS.get(dataset, 0)
    return config


# Side of the images and epochs on digits, for networks that 8 epochs at the side of `small` do not
# suit. Large ones see small images, as the scans are of 8x8 pixels: so that a run ends within ten
# minutes on two cores. MobileNets, and deep ones without normalisation or shortcuts, need more
# steps.
DIGITS = {
    "wrn_16_8": (16, 8),
    "wrn_22_8": (16, 8),
    "wrn_40_4": (16, 8),
    "wrn_40_8": (8, 8),
    "wrn_28_10": (8, 8),
    "wrn_28_12": (8, 8),
    "resnext29_8x64d": (8, 8),
    "resnext29_16x64d": (8, 5),
    "densenet161": (32, 5),
    "densenet201": (32, 6),
    "densenet_40_12": (16, 8),
    "densenet_100_12": (8, 8),
    "densenet_100_24": (8, 5),
    "densenet_bc_100_12": (16, 8),
    "densenet_bc_190_40": (8, 5),
    "densenet_bc_250_24": (8, 5),
    "cifar_plain44": (32, 20),
    "cifar_plain56": (16, 60),
    "cifar_resnet1001_v2": (16, 8),
    "cifar_resnet1202": (8, 8),
    "cifar_resnet1202_sd": (8, 8),
    "dfn_mr2": (8, 8),
    "dfn_mr3": (8, 5),
    "fractalnet20_cifar10": (32, 12),
    "fractalnet20_cifar100": (32, 12),
    "inception_v4": (80, 12),
    "inception_resnet_v2": (80, 6),
    "inception_resnet_v2_paper": (80, 8),
    "dsn_cifar10": (32, 12),
    "highway_cifar10": (16, 16),
    "highway_cifar100": (16, 16),
    "vgg13": (32, 12),
    "vgg16": (32, 12),
    "vgg16_1x1": (32, 12),
    "vgg19": (32, 20),
    "mobilenet_v1_025": (64, 30),
    "mobilenet_v1_050": (64, 20),
    "mobilenet_v1_075": (64, 20),
    "mobilenet_v1_100": (64, 20),
    "mobilenet_v1_shallow": (64, 20),
}
# On digits compiling one unit of each stage saves minutes; see `scan_units` of the networks.
SCANNED = re.compile(
    r"cifar_(?:plain|resnet)\d{3,}|resnet(?:152|200)|inception_resnet|densenet201"
    r"|densenet_bc_(?:190|250)"
)

# `small` of deep networks without normalisation. A few hundred steps are too few for the papers'
# initial weights, N(0, 0.01²) or half of He's variance, behind which the maps nearly vanish.
WITHOUT_NORM: dict[str, Any] = {"kernel_init": "he_normal", "rate": 3e-4, "digits_rate": 1e-3}


def small(
    size: int = 32,
    rate: float = 2e-3,
    folder: int = 224,
    also: Recipe | None = None,
    sets: Sequence[str] = (*GREY, *COLOUR),
    kernel_init: str = "",
    digits_rate: float = 0.0,
) -> Recipes:
    """Ours, for a laptop: AdamW and a cosine, 8 epochs of 64.

    The same in batches of 128 for small data sets of which the papers have no recipe: 20 epochs of
    MNIST and Fashion-MNIST, 40 of SVHN, 100 of CIFAR; shifts, and flips but of digits. Images of
    another size than the network's are framed or enlarged. `DIGITS` has exceptions.

    Args:
      size: of digits and synthetic images, which the network needs to have something left.
      rate: peak of the learning rate; networks without BN need a smaller one.
      folder: size of photographs; 0 for networks that are not made for them.
      also: what else is to be set.
      sets: which of these data sets the network can take.
      kernel_init: of convolutions; "" is the network's own.
      digits_rate: of digits and synthetic images, where networks without BN cannot afford a rate
        that is small enough for longer runs; 0 is `rate`.
    """

    def short(config: ConfigDict) -> None:
        config.train.update(length="8epochs", batch_size=64)
        config.optimizer.update(name="adamw", weight_decay=0.05)
        config.schedule.update(name="cosine", learning_rate=rate, warmup="1epochs")
        config.model.kernel_init = kernel_init

    def digits(config: ConfigDict) -> None:
        """Shifts instead of flips: a mirrored digit is no digit."""
        short(config)
        config.schedule.learning_rate = digits_rate or rate
        side, epochs = DIGITS.get(config.model.name, (size, 8))
        config.train.length = f"{epochs}epochs"
        config.data.update(image_size=side, pad=max(side // 16, 1))
        if SCANNED.match(config.model.name):
            config.model.overrides.scan_units = True
        if also is not None:
            also(config)

    def photographs(config: ConfigDict) -> None:
        """A few thousand of them."""
        short(config)
        config.data.image_size = folder
        config.train.update(length="30epochs", batch_size=32)
        config.log.every = "10steps"

    def tens_of_thousands(config: ConfigDict) -> None:
        short(config)
        grey, native = config.dataset in GREY, config.data.image_size
        epochs = 20 if grey else 40 if config.dataset == "svhn" else 100
        config.train.update(length=f"{epochs}epochs", batch_size=128)
        config.schedule.warmup = f"{epochs // 20}epochs"
        config.data.update(image_size=size, pad=size // (16 if grey else 8))
        config.data.flip = config.dataset not in ("mnist", "svhn")
        if size != native:
            fit(config)
        if also is not None:
            also(config)

    recipes: Recipes = {"digits": digits, "synthetic": digits}
    recipes |= dict.fromkeys(sets, tens_of_thousands)
    return recipes | {"folder": photographs} if folder else recipes


def fit(config: ConfigDict) -> None:
    """Small images for a larger network: 28x28 in a black frame of 32x32, else enlarged."""
    crop = "frame" if config.data.image_size == 32 else "resize"
    config.data.update(train_crop=crop, eval_crop=crop)


def cifar(recipe: Recipe) -> Recipes:
    """The same for ten and for a hundred classes."""
    return {"cifar10": recipe, "cifar100": recipe}


def svhn_with_extra(config: ConfigDict) -> None:
    """All 604,388 images, the easier extra ones too, nothing augmented."""
    config.data.update(train_split="train+extra", flip=False, pad=0)


def hold_out_svhn(config: ConfigDict) -> None:
    """Sermanet's validation: 400 of each class of the training images, 200 of the extra ones."""
    config.data.update(holdout=0, holdout_per_class=(400, 200))


def fb_resnet(config: ConfigDict) -> None:
    """fb.resnet.torch: 90 epochs of 256, drops at 30 and 60, colour jitter, lighting."""
    config.data.update(color_jitter=0.4, lighting=0.1)
    config.train.update(length="90epochs", batch_size=256)
    config.optimizer.decay_mask = ("",)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=256)
    config.schedule.boundaries = ("30epochs", "60epochs")


def cifar_resnet(config: ConfigDict) -> None:
    """ResNet's 64k steps; from 110 layers on, 400 of them at a tenth of the rate.

    The mean image is subtracted; ours is the division by the deviation.
    """
    config.data.update(flip=True, pad=4, holdout=5000, preprocess="mean_image")
    config.train.update(length="64000steps", batch_size=128)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
    config.schedule.boundaries = ("32000steps", "48000steps")
    config.optimizer.decay_mask = ("",)
    depth = re.fullmatch(r"cifar_[a-z]+(\d+)(?:_v2)?", config.model.name)
    if depth and int(depth[1]) >= 110:
        config.schedule.update(warmup="400steps", warmup_kind="constant", warmup_fraction=0.1)


def rmsprop(config: ConfigDict, batch_size: int) -> None:
    """RMSProp as the Inception papers use it; see `inception`."""
    config.train.update(batch_size=batch_size, ema_decay=0.9999)
    config.optimizer.update(name="rmsprop", rms_decay=0.9, epsilon=1.0, momentum=0.9)
    config.optimizer.weight_decay = 4e-5
    config.schedule.update(name="exponential", learning_rate=0.045, factor=0.94, every="2epochs")
