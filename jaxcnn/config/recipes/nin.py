"""Network in Network ("Network In Network", §4), with the recipe of the authors' code.

CIFAR: batch size 128, momentum 0.9, decay 5e-4, no augmentation, 260 epochs with a tenth of the
rate from epoch 200 and a hundredth from 230. The rate, 0.02, is that of the code for CIFAR-100,
where the first stage has smaller initial weights; the classifier of the CIFAR-10 network has a
tenth of it. CIFAR is contrast-normalised and whitened; `--config.data.pad=4 --config.data.flip` is
the paper's augmentation. ImageNet: batch size 64, 450k steps at rate 0.01 with drops at 200k and
400k, 224 crops of an image with short side 256, flip.

SVHN: training and extra images, with 400 and 200 of each class held out, rate 0.1, a tenth of it
for the classifier, and decay 1e-4, as in the authors' code. MNIST follows the procedure of CIFAR,
according to the paper; the code has initial weights but no rates for MNIST, so the rates are those
of CIFAR-100. Ours: 120k steps on SVHN with drops at 100k and 115k; channel mean and deviation for
MNIST and SVHN, for SVHN instead of local contrast normalisation.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common

CLASSIFIER = ("^classifier/", 0.1)


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a Network in Network."""
    if model == "nin_imagenet":
        small = common.small(64, rate=1e-3, also=quick)
        return common.Recipes(small, {"imagenet2012": imagenet})
    if model == "nin_mnist":
        small = common.small(28, rate=1e-3, folder=0, also=quick_grey, sets=common.GREY)
        return common.Recipes(small, {"mnist": plain})
    small = common.small(rate=1e-3, folder=0, also=quick)
    return common.Recipes(small, {"svhn": svhn} if model == "nin_svhn" else common.cifar(cifar))


def plain(config: ConfigDict) -> None:
    """Sets the code's recipe for CIFAR-100, without its initial weights and preprocessing."""
    config.train.update(length="260epochs", batch_size=128)
    config.optimizer.update(weight_decay=5e-4, lr_multipliers=(common.BIASES,))
    config.schedule.update(name="step", learning_rate=0.02, reference_batch=128)
    config.schedule.boundaries = ("200epochs", "230epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the code's rates and decay, and our length."""
    plain(config)
    common.svhn_with_extra(config)
    common.hold_out_svhn(config)
    config.train.length = "120000steps"
    config.optimizer.update(weight_decay=1e-4, lr_multipliers=(common.BIASES, CLASSIFIER))
    config.schedule.learning_rate = 0.1
    config.schedule.boundaries = ("100000steps", "115000steps")


def cifar(config: ConfigDict) -> None:
    """Sets the code's recipe."""
    plain(config)
    config.data.preprocess = "zca"
    if config.model.name == "nin_cifar100":
        config.model.overrides.deviations = ((0.001, 0.01), 0.05, 0.05, 0.05)
    else:
        config.optimizer.lr_multipliers = (common.BIASES, CLASSIFIER)


def imagenet(config: ConfigDict) -> None:
    """Sets the recipe of the author's weights."""
    config.data.update(train_crop="scale_jitter", scale_range=(256, 256))
    config.train.update(length="450000steps", batch_size=64)
    config.optimizer.update(weight_decay=5e-4, lr_multipliers=(common.BIASES,))
    config.schedule.update(name="step", learning_rate=0.01, reference_batch=64)
    config.schedule.boundaries = ("200000steps", "400000steps")


def quick(config: ConfigDict) -> None:
    """Makes a network learn in a few hundred steps.

    With small weights and half of the inputs dropped, the network learns nothing in that time. If a
    class map starts below zero everywhere, its ReLU never passes a gradient.
    """
    config.model.kernel_init = "he_normal"
    config.model.overrides.update(dropout_rate=0.0, final_act=False)
    config.optimizer.lr_multipliers = (CLASSIFIER,)


def quick_grey(config: ConfigDict) -> None:
    """Does the same for images of one channel."""
    quick(config)
    config.data.channels = 1
