"""Functions and settings that several recipes share."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxcnn.config.config_dict import base_config
from jaxcnn.config.datasets import DATASETS, HOLDOUTS
from jaxcnn.errors import UserError, nearest

Recipe = Callable[[ConfigDict], None]  # changes a config after its data set has been set


class Recipes(NamedTuple):
    """The recipes of a network, by the name of the data set.

    Attributes:
      ours: short recipes for a laptop, and for small data sets that the paper does not use.
      published: recipes of the paper, or of its authors' code, which has priority.
    """

    ours: Mapping[str, Recipe]
    published: Mapping[str, Recipe]


class Digits(NamedTuple):
    """Settings for training on digits that differ from those of `small`, with 8 epochs.

    Large networks get small images, because the scans are 8x8 pixels, so that a run ends within ten
    minutes on two cores.

    Attributes:
      side: side of the images in pixels; 0 is that of `small`.
      epochs: number of epochs with batch size 64.
      scan_units: whether only one unit per stage is compiled, which saves minutes; see the
        networks' field of this name.
      zero_init_last: whether the last BatchNorm of every unit starts at zero, so that the network
        starts as the identity; see the networks' field of this name.
    """

    side: int = 0
    epochs: int = 8
    scan_units: bool = False
    zero_init_last: bool = False


GREY = ("mnist", "fashion_mnist")
COLOUR = ("cifar10", "cifar100", "svhn")

# As in Caffe and cuda-convnet: biases have twice the learning rate (and no decay).
BIASES = ("bias$", 2.0)

# Unrolled they would need more than 20 GB to compile, so only one unit per stage is compiled.
THOUSAND_LAYERS = re.compile(r"cifar_resnet1\d{3}")


def start(model: str, dataset: str, recipes: Recipes) -> ConfigDict:
    """Returns the defaults, changed by the data set and then by the network's recipe for it.

    A plateau uses a validation split, which is held out if the size of the data is known.

    Raises:
      UserError: if the data set has no recipe.
    """
    by_dataset = {**recipes.ours, **recipes.published}
    if dataset not in by_dataset:
        raise UserError(f"{model} has no recipe for {dataset!r}: {nearest(dataset, by_dataset)}")
    config = base_config()
    config.model.name = model
    config.dataset = dataset
    DATASETS[dataset](config)
    by_dataset[dataset](config)
    if THOUSAND_LAYERS.match(model):
        config.model.overrides.scan_units = True
    held_out = config.data.holdout or config.data.holdout_per_class
    if config.schedule.name == "plateau" and not held_out:
        config.data.holdout = HOLDOUTS.get(dataset, 0)
    return config


# `small` for deep networks without normalisation. With the papers' initial weights, N(0, 0.01²) or
# half of He's variance, the last maps nearly vanish, and a few hundred steps are too few.
WITHOUT_NORM: dict[str, Any] = {"kernel_init": "he_normal", "rate": 3e-4, "digits_rate": 1e-3}


def small(
    size: int = 32,
    rate: float = 2e-3,
    folder: int = 224,
    also: Recipe | None = None,
    sets: Sequence[str] = (*GREY, *COLOUR),
    kernel_init: str = "",
    digits_rate: float = 0.0,
    digits: Digits = Digits(),  # noqa: B008, immutable
) -> dict[str, Recipe]:
    """Returns our recipes for a laptop: AdamW and a cosine schedule, 8 epochs with batch size 64.

    Small data sets without a recipe in the papers use batch size 128: 20 epochs of MNIST and
    Fashion-MNIST, 40 of SVHN, 100 of CIFAR; shifts, and flips except for digits. Images of another
    size than the network's are framed or enlarged.

    Args:
      size: side of digits and synthetic images; the network's last maps must not be empty.
      rate: peak of the learning rate; networks without BN need a smaller one.
      folder: side of photographs; 0 for networks that do not take them.
      also: further changes.
      sets: data sets that the network can use.
      kernel_init: initialiser of convolutions; "" is the network's own.
      digits_rate: rate for digits and synthetic images; 0 is `rate`. Networks without BN need a
        larger rate here than in longer runs.
      digits: exceptions for digits and synthetic images.
    """

    def short(config: ConfigDict) -> None:
        config.train.update(length="8epochs", batch_size=64)
        config.optimizer.update(name="adamw", weight_decay=0.05)
        config.schedule.update(name="cosine", learning_rate=rate, warmup="1epochs")
        config.model.kernel_init = kernel_init

    def small_digits(config: ConfigDict) -> None:
        """Uses shifts instead of flips, because a mirrored digit is not a digit."""
        short(config)
        config.schedule.learning_rate = digits_rate or rate
        side = digits.side or size
        config.train.length = f"{digits.epochs}epochs"
        config.data.update(image_size=side, pad=max(side // 16, 1))
        if digits.scan_units:
            config.model.overrides.scan_units = True
        if digits.zero_init_last:
            config.model.overrides.zero_init_last = True
        if also is not None:
            also(config)

    def photographs(config: ConfigDict) -> None:
        """Sets the recipe for a few thousand photographs."""
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

    recipes: dict[str, Recipe] = dict.fromkeys(("digits", "glyphs", "synthetic"), small_digits)
    recipes |= dict.fromkeys(sets, tens_of_thousands)
    return recipes | {"folder": photographs} if folder else recipes


def fit(config: ConfigDict) -> None:
    """Fits small images to a larger network: 28x28 in a black frame of 32x32, else enlarged."""
    crop = "frame" if config.data.image_size == 32 else "resize"
    config.data.update(train_crop=crop, eval_crop=crop)


def narrow(config: ConfigDict) -> None:
    """Narrows hidden dense layers to 512 features.

    With 4096 features they have most of the parameters, nine tenths of ZFNet's.
    """
    config.model.overrides.hidden_features = (512, 512)


def cifar(recipe: Recipe) -> dict[str, Recipe]:
    """Returns one recipe for both ten and a hundred classes."""
    return {"cifar10": recipe, "cifar100": recipe}


def svhn_with_extra(config: ConfigDict) -> None:
    """Sets all 604,388 images, including the easier extra ones, without augmentation."""
    config.data.update(train_split="train+extra", flip=False, pad=0)


def hold_out_svhn(config: ConfigDict) -> None:
    """Sets Sermanet's validation split: 400 training and 200 extra images of each class."""
    config.data.update(holdout=0, holdout_per_class=(400, 200))


def fb_resnet(config: ConfigDict) -> None:
    """Sets fb.resnet.torch's: 90 epochs of batch 256, drops at 30 and 60, jitter, lighting."""
    config.data.update(color_jitter=0.4, lighting=0.1)
    config.train.update(length="90epochs", batch_size=256)
    config.optimizer.decay_mask = ("",)
    config.schedule.update(name="step", learning_rate=0.1, reference_batch=256)
    config.schedule.boundaries = ("30epochs", "60epochs")


def rmsprop(config: ConfigDict, batch_size: int) -> None:
    """Sets RMSProp as in the Inception papers; see `inception_v3`."""
    config.train.update(batch_size=batch_size, ema_decay=0.9999)
    config.optimizer.update(name="rmsprop", rms_decay=0.9, epsilon=1.0, momentum=0.9)
    config.optimizer.weight_decay = 4e-5
    config.schedule.update(name="exponential", learning_rate=0.045, factor=0.94, every="2epochs")
