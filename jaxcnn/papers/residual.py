"""Recipes of the networks with shortcuts: ResNets and DenseNets."""

from ml_collections import ConfigDict

from jaxcnn.papers import common


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
        return common.start(
            model, dataset, common.small(folder=0) | common.cifar(common.cifar_resnet)
        )
    papers = {"imagenet2012": imagenet} | common.cifar(common.cifar_resnet)
    return common.start(model, dataset, common.small() | papers)


def preact_resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet v2 ("Identity Mappings in Deep Residual Networks", §4 and its appendix).

    ImageNet: 90 epochs of 256 in fb.resnet's way. CIFAR: as ResNet, but the deep networks warm up
    for 400 steps and nothing is held out.
    """

    def cifar(config: ConfigDict) -> None:
        common.cifar_resnet(config)
        config.data.holdout = 0

    if model.startswith("cifar_"):
        return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
    return common.start(model, dataset, common.small() | {"imagenet2012": common.fb_resnet})


def stochastic_depth(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet with stochastic depth ("Deep Networks with Stochastic Depth", §4).

    CIFAR: 500 epochs of 128, Nesterov momentum, drops at 250 and 375, decay of all weights 1e-4,
    45k/5k split, flip and pad 4; the paper reports the epoch that is best on the 5,000, which is
    the checkpoint kept as best. No warm-up, as in the released code.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4, holdout=5000)
        config.train.update(length="500epochs", batch_size=128)
        config.optimizer.update(nesterov=True, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
        config.schedule.boundaries = ("250epochs", "375epochs")

    return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))


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
        return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
    return common.start(model, dataset, common.small() | {"imagenet2012": common.fb_resnet})


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
        return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
    return common.start(model, dataset, common.small() | {"imagenet2012": common.fb_resnet})


def densenet(model: str, dataset: str = "digits") -> ConfigDict:
    """DenseNet ("Densely Connected Convolutional Networks", §4.2), with fb.resnet's augmentation.

    ImageNet: 90 epochs of 256, drops at 30 and 60. CIFAR: 300 epochs of 64, drops at half and three
    quarters, flip and pad 4 (without them the paper adds dropout 0.2). Nesterov momentum, decay of
    all weights 1e-4.
    """

    def imagenet(config: ConfigDict) -> None:
        common.fb_resnet(config)
        config.optimizer.nesterov = True

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4)
        config.train.update(length="300epochs", batch_size=64)
        config.optimizer.update(nesterov=True, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=64)
        config.schedule.boundaries = ("150epochs", "225epochs")

    if model.startswith("densenet_"):
        return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
    return common.start(
        model, dataset, common.small() | {"imagenet2012": imagenet} | common.cifar(cifar)
    )
