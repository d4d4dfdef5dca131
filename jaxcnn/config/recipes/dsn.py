"""Deeply-Supervised Nets (§2 and §3), with the recipe of the authors' code.

Squared hinge loss of the output and of three companions, which have weight 0.1·(1 - t/N); softmax
on CIFAR-100 and SVHN. Batch size 100, momentum 0.9, rate 0.025, decay 5e-4, no augmentation; the
classifier has a tenth of the rate, the companions a thousandth. The code trains 50k steps with
fully weighted companions, then 100k without them, 20k more at a twentieth of the rate and 30k at
1e-4. Ours is one run of this length with fading companions. It has the same drops but a single
factor for both, so it ends at 1e-4 and has 0.0016 before, where the code has 0.00125. The threshold
γ is not published; ours is 0. CIFAR is contrast-normalised. Ours: the companions' rate falls
together with the others. SVHN: as CIFAR, according to the code's authors, with the extra images;
400 training and 200 extra images of each class are held out. Ours: channel mean and deviation
instead of local contrast normalisation.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common, nin
from jaxcnn.config.recipes.common import Digits

DIGITS = Digits(32, 12)  # without normalisation it needs more steps


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a Deeply-Supervised Net."""
    small = common.small(rate=1e-3, folder=0, also=quick, digits=DIGITS)
    return common.Recipes(small, common.cifar(as_published) | {"svhn": as_published})


def as_published(config: ConfigDict) -> None:
    """Sets the code's recipe, in one run."""
    companions(config)
    if config.dataset in ("cifar100", "svhn"):
        config.loss.name = "cross_entropy"
    if config.dataset == "svhn":
        common.svhn_with_extra(config)
        common.hold_out_svhn(config)
    else:
        config.data.preprocess = "gcn"
    config.train.update(length="200000steps", batch_size=100)
    config.optimizer.weight_decay = 5e-4
    config.optimizer.lr_multipliers = (common.BIASES, nin.CLASSIFIER, (r"^aux\d_head/", 1e-3))
    config.schedule.update(name="step", learning_rate=0.025, reference_batch=100)
    config.schedule.update(boundaries=("150000steps", "170000steps"), factor=0.004**0.5)


def companions(config: ConfigDict) -> None:
    """Adds the companions and their loss."""
    config.model.overrides.aux_heads = True
    config.loss.update(name="squared_hinge", aux_weight=0.1, aux_decay="linear")


def quick(config: ConfigDict) -> None:
    """Makes a network learn in a few hundred steps; see `nin.quick`."""
    nin.quick(config)
    companions(config)
