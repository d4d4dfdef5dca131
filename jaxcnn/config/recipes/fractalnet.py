"""FractalNet ("FractalNet: Ultra-Deep Neural Networks without Residuals", §4).

CIFAR: 400 epochs with batch size 100, rate 0.02, reduced to a tenth whenever half of the remaining
epochs are over, flip and shifts by 4. The heavier augmentation of the narrow networks is not
described and is omitted. SVHN, for FractalNet-20: 20 epochs with the extra images, no augmentation.
ImageNet: 70 epochs with batch size 32, rate 0.001, drops at 50 and 65; tested on ten crops. Ours:
decay of kernels 1e-4; norms with scale and bias, and a classifier bias with the common rate, where
the released generator has neither; the crops on ImageNet.

`--config.model.overrides.deepest_column=True` tests only the deepest column. `drop_path_rate=0.0`
with `dropout_rates` of zero is the paper's network without either. On digits, fractalnet_narrow_c3
is suitable: fractalnet20 takes minutes on a laptop.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.config.recipes.common import Digits

DIGITS = {
    "fractalnet34": Digits(32, 5),
    "fractalnet20_cifar10": Digits(32, 6),
    "fractalnet20_cifar100": Digits(32, 6),
    "fractalnet_narrow_c6": Digits(epochs=12),
}
DIGITS_RATES = {"fractalnet_narrow_c6": 4e-3}  # 160 layers, which learn slowly at the others' rate


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a FractalNet."""
    digits = DIGITS.get(model, Digits())
    if model == "fractalnet34":
        small = common.small(also=without_drops, digits=digits)
        return common.Recipes(small, {"imagenet2012": imagenet})
    small = common.small(
        folder=0, also=without_drops, digits_rate=DIGITS_RATES.get(model, 0.0), digits=digits
    )
    return common.Recipes(small, common.cifar(cifar) | {"svhn": svhn})


def cifar(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.data.update(flip=True, pad=4)
    config.train.update(length="400epochs", batch_size=100)
    config.schedule.update(name="step", learning_rate=0.02, reference_batch=100)
    config.schedule.boundaries = ("200epochs", "300epochs", "350epochs", "375epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the paper's recipe of FractalNet-20."""
    cifar(config)
    common.svhn_with_extra(config)
    config.train.length = "20epochs"
    config.schedule.boundaries = ("10epochs", "15epochs", "17.5epochs", "18.75epochs")


def imagenet(config: ConfigDict) -> None:
    """Sets the paper's recipe."""
    config.train.update(length="70epochs", batch_size=32)
    config.schedule.update(name="step", learning_rate=0.001, reference_batch=32)
    config.schedule.boundaries = ("50epochs", "65epochs")
    config.eval.protocol = "ten_crop"


def without_drops(config: ConfigDict) -> None:
    """Disables path dropping and dropout in runs of a few hundred steps.

    In such runs columns of 40 layers learn nothing from batches of their own. Dropout precedes
    BatchNorm, whose statistics then differ from those in evaluation: the network of 20 layers with
    dropout had 90 % accuracy on training images after 4 epochs, and 10 % on test images.
    """
    if config.dataset in ("digits", "glyphs", "synthetic"):
        config.model.overrides.drop_path_rate = 0.0
        if config.model.name.startswith("fractalnet20"):
            config.model.overrides.dropout_rates = (0.0,) * 5
