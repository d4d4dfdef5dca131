"""Network in Network ("Network In Network", §4), as its authors' code trained it.

CIFAR: batches of 128, momentum 0.9, decay 5e-4, no augmentation, 260 epochs with a tenth of the
rate from epoch 200 and a hundredth from 230. The rate itself, 0.02, is that of the code for
CIFAR-100, where the first stage starts from smaller weights; the classifier of the network for
CIFAR-10 has a tenth of it. CIFAR is contrast-normalised and whitened; the paper's augmentation is
`--config.data.pad=4 --config.data.flip`. ImageNet: batches of 64, 450k steps at rate 0.01 with
drops at 200k and 400k, 224 crops of an image with short side 256, flip.

SVHN: the training and the extra images, with 400 and 200 of each class held out, rate 0.1, of the
classifier a tenth of that, and decay 1e-4, as in the authors' code. MNIST goes by the procedure of
CIFAR, as the paper says; the code has a start but no rates for MNIST, so the rates here are
CIFAR-100's. Ours: on SVHN 120k steps with drops at 100k and 115k; for MNIST and SVHN the channel
mean and deviation, for SVHN instead of local contrast normalisation.
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
    """Sets the code's recipe for CIFAR-100, without its start and preprocessing."""
    config.train.update(length="260epochs", batch_size=128)
    config.optimizer.update(weight_decay=5e-4, lr_multipliers=(common.BIASES,))
    config.schedule.update(name="step", learning_rate=0.02, reference_batch=128)
    config.schedule.boundaries = ("200epochs", "230epochs")


def svhn(config: ConfigDict) -> None:
    """Sets the code's rates and decay; the length is ours."""
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

    With small weights and half of the inputs dropped nothing is learnt in that time. And a map of a
    class that starts below zero everywhere never gets a gradient through its ReLU.
    """
    config.model.kernel_init = "he_normal"
    config.model.overrides.update(dropout_rate=0.0, final_act=False)
    config.optimizer.lr_multipliers = (CLASSIFIER,)


def quick_grey(config: ConfigDict) -> None:
    """Does the same for images of one channel."""
    quick(config)
    config.data.channels = 1
