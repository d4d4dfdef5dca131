"""Deeply-Supervised Nets (§2 and §3), as the authors' code trained them.

Squared hinge loss of the output and of three companions, these with weight 0.1·(1 - t/N); softmax
on CIFAR-100 and SVHN. Batches of 100, momentum 0.9, rate 0.025, decay 5e-4, no augmentation; the
classifier learns at a tenth of the rate, the companions at a thousandth. The code trains 50k steps
with companions that count fully, then 100k without them, 20k more at a twentieth of the rate and
30k at 1e-4. Ours is one run of that length, in which they fade, with the same drops but one factor
for both, which ends at 1e-4 and has 0.0016 before that, where the code has 0.00125. No threshold γ
is published, here it is 0. CIFAR is contrast-normalised. Ours: the companions' rate falls with that
of the rest. SVHN as CIFAR, as the code's authors say, with the extra images; 400 training and 200
extra images of each class are held out. Ours is the channel mean and deviation instead of local
contrast normalisation.
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
    """Sets the recipe of the code, in one run."""
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
