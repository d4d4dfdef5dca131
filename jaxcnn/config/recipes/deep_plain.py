"""Recipes of deep networks without normalisation: NiN, Deeply-Supervised Nets, Highway networks."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common

# Caffe and cuda-convnet: biases learn twice as fast (and do not decay).
BIASES = ("bias$", 2.0)
CLASSIFIER = ("^classifier/", 0.1)


def nin(model: str, dataset: str = "digits") -> ConfigDict:
    """Network in Network ("Network In Network", §4), as its authors' code trained it.

    CIFAR: batches of 128, momentum 0.9, decay 5e-4, no augmentation, 260 epochs with a tenth of the
    rate from epoch 200 and a hundredth from 230. The rate itself, 0.02, is that of the code for
    CIFAR-100, where the first stage starts from smaller weights; the classifier of the network for
    CIFAR-10 has a tenth of it. CIFAR is contrast-normalised and whitened. ImageNet: batches of 64,
    450k steps at rate 0.01 with drops at 200k and 400k, 224 crops of an image with short side 256,
    flip.

    SVHN: the training and the extra images, of which 400 and 200 of each class are held out, rate
    0.1, of the classifier a tenth of that, and decay 1e-4, which are the code's. MNIST goes by the
    procedure of CIFAR, as the paper says; its code has a start but no rates for it, those here are
    CIFAR-100's. Ours: on SVHN 120k steps with drops at 100k and 115k; for MNIST and SVHN the
    channel mean and deviation, for SVHN instead of local contrast normalisation.
    """

    def plain(config: ConfigDict) -> None:
        config.train.update(length="260epochs", batch_size=128)
        config.optimizer.update(weight_decay=5e-4, lr_multipliers=(BIASES,))
        config.schedule.update(name="step", learning_rate=0.02, reference_batch=128)
        config.schedule.boundaries = ("200epochs", "230epochs")

    def svhn(config: ConfigDict) -> None:
        plain(config)
        common.svhn_with_extra(config)
        common.hold_out_svhn(config)
        config.train.length = "120000steps"
        config.optimizer.update(weight_decay=1e-4, lr_multipliers=(BIASES, CLASSIFIER))
        config.schedule.learning_rate = 0.1
        config.schedule.boundaries = ("100000steps", "115000steps")

    def cifar(config: ConfigDict) -> None:
        plain(config)
        config.data.preprocess = "zca"
        if model == "nin_cifar100":
            config.model.overrides.deviations = ((0.001, 0.01), 0.05, 0.05, 0.05)
        else:
            config.optimizer.lr_multipliers = (BIASES, CLASSIFIER)

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256))
        config.train.update(length="450000steps", batch_size=64)
        config.optimizer.update(weight_decay=5e-4, lr_multipliers=(BIASES,))
        config.schedule.update(name="step", learning_rate=0.01, reference_batch=64)
        config.schedule.boundaries = ("200000steps", "400000steps")

    if model == "nin_imagenet":
        small = common.small(64, rate=1e-3, also=_quick)
        return common.start(model, dataset, small | {"imagenet2012": imagenet})
    if model == "nin_mnist":
        small = common.small(28, rate=1e-3, folder=0, also=_mnist, sets=common.GREY)
        return common.start(model, dataset, small | {"mnist": plain})
    small = common.small(rate=1e-3, folder=0, also=_quick)
    if model == "nin_svhn":
        return common.start(model, dataset, small | {"svhn": svhn})
    return common.start(model, dataset, small | common.cifar(cifar))


def dsn(model: str, dataset: str = "digits") -> ConfigDict:
    """Deeply-Supervised Nets (§2 and §3), as the authors' code trained them.

    Squared hinge loss of the output and of three companions, these with weight 0.1·(1 - t/N);
    softmax on CIFAR-100 and SVHN. Batches of 100, momentum 0.9, rate 0.025, decay 5e-4, no
    augmentation; the classifier learns at a tenth of the rate, the companions at a thousandth. The
    code trains 50k steps with companions that count fully, then 100k without them, 20k more at a
    twentieth of the rate and 30k at 1e-4. Ours is one run of that length, in which they fade, with
    the same drops but one factor for both, which ends at 1e-4 and has 0.0016 before that, where
    the code has 0.00125. No threshold γ is published, here it is 0. CIFAR is contrast-normalised.
    Ours: the companions' rate falls with that of the rest. SVHN as CIFAR, as the code's authors
    say, with the extra images, of which and of the others 200 and 400 of each class are held out;
    ours is the channel mean and deviation instead of local contrast normalisation.
    """

    def companions(config: ConfigDict) -> None:
        config.model.overrides.aux_heads = True
        config.loss.update(name="squared_hinge", aux_weight=0.1, aux_decay="linear")

    def cifar(config: ConfigDict) -> None:
        companions(config)
        if dataset in ("cifar100", "svhn"):
            config.loss.name = "cross_entropy"
        if dataset == "svhn":
            common.svhn_with_extra(config)
            common.hold_out_svhn(config)
        else:
            config.data.preprocess = "gcn"
        config.train.update(length="200000steps", batch_size=100)
        config.optimizer.weight_decay = 5e-4
        config.optimizer.lr_multipliers = (BIASES, CLASSIFIER, (r"^aux\d_head/", 1e-3))
        config.schedule.update(name="step", learning_rate=0.025, reference_batch=100)
        config.schedule.update(boundaries=("150000steps", "170000steps"), factor=0.004**0.5)

    def few(config: ConfigDict) -> None:
        _quick(config)
        companions(config)

    small = common.small(rate=1e-3, folder=0, also=few)
    return common.start(model, dataset, small | common.cifar(cifar) | {"svhn": cifar})


def highway(model: str, dataset: str = "digits") -> ConfigDict:
    """Highway networks ("Training Very Deep Networks", §3 and §4), as the authors' code has them.

    CIFAR: 200k steps of 100, Nesterov momentum 0.9, rate 0.025 with drops at 100k, 150k and 175k,
    decay 1e-3, flip and crops of the image padded by 8, contrast-normalised. Convolutions on MNIST:
    180k steps of 100, rate 0.01 with drops at 60k and 120k, pixels in [0, 1], no augmentation, all
    of the code, which has the wider of the two networks. Ours: the classifier
    decays as the rest, not ten times as much; the dense networks of the study, whose rates the
    paper draws at random, go by AdamW.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=8, preprocess="gcn")
        config.train.update(length="200000steps", batch_size=100)
        config.optimizer.update(nesterov=True, weight_decay=1e-3, lr_multipliers=(BIASES,))
        config.schedule.update(name="step", learning_rate=0.025, reference_batch=100)
        config.schedule.boundaries = ("100000steps", "150000steps", "175000steps")

    def mnist(config: ConfigDict) -> None:
        config.data.update(mean=(0.0,), std=(1.0,))
        config.train.update(length="180000steps", batch_size=100)
        config.optimizer.update(nesterov=True, weight_decay=1e-3, lr_multipliers=(BIASES,))
        config.schedule.update(name="step", learning_rate=0.01, reference_batch=100)
        config.schedule.boundaries = ("60000steps", "120000steps")

    def longer(config: ConfigDict) -> None:
        config.data.channels = 1
        config.train.length = "30epochs"
        if model == "highway_fc100":  # gates at -2 let 3e-6 of the input through so many layers
            config.model.overrides.gate_bias = -4.0

    if model.startswith("highway_cifar"):
        small = common.small(rate=1e-3, folder=0, kernel_init="he_normal")
        return common.start(model, dataset, small | common.cifar(cifar))
    small = common.small(28, rate=3e-3, folder=0, also=longer, sets=common.GREY)
    if model.startswith("highway_mnist"):
        small["mnist"] = mnist
    return common.start(model, dataset, small)


def _quick(config: ConfigDict) -> None:
    """With small weights and half of the inputs dropped nothing is learnt in a few hundred steps.

    And a map of a class that starts below zero everywhere never gets a gradient through its ReLU.
    """
    config.model.kernel_init = "he_normal"
    config.model.overrides.update(dropout_rate=0.0, final_act=False)
    config.optimizer.lr_multipliers = (CLASSIFIER,)


def _mnist(config: ConfigDict) -> None:
    _quick(config)
    config.data.channels = 1
