"""Recipes of the networks of several joined paths: FractalNet and the deeply-fused nets."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def fractalnet(model: str, dataset: str = "digits") -> ConfigDict:
    """FractalNet ("FractalNet: Ultra-Deep Neural Networks without Residuals", §4).

    CIFAR: 400 epochs of 100, rate 0.02, a tenth of it whenever half of the epochs that remained are
    over, flip and shifts by 4; the heavier augmentation, with which the narrow networks were
    measured, is not described and left out. SVHN: 20 epochs with the extra images, nothing
    augmented. ImageNet: 70 epochs of 32, rate 0.001, drops at 50 and 65; tested on ten crops. Ours:
    the decay of kernels, 1e-4; norms with scale and bias, and a bias of the classifier that learns
    as fast as the rest, where the released generator has neither; on ImageNet the crops.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4)
        config.train.update(length="400epochs", batch_size=100)
        config.schedule.update(name="step", learning_rate=0.02, reference_batch=100)
        config.schedule.boundaries = ("200epochs", "300epochs", "350epochs", "375epochs")

    def svhn(config: ConfigDict) -> None:
        cifar(config)
        common.svhn_with_extra(config)
        config.train.length = "20epochs"
        config.schedule.boundaries = ("10epochs", "15epochs", "17.5epochs", "18.75epochs")

    def imagenet(config: ConfigDict) -> None:
        config.train.update(length="70epochs", batch_size=32)
        config.schedule.update(name="step", learning_rate=0.001, reference_batch=32)
        config.schedule.boundaries = ("50epochs", "65epochs")
        config.eval.protocol = "ten_crop"

    if model == "fractalnet34":
        small = common.small(also=_without_drop_path)
        return common.start(model, dataset, small | {"imagenet2012": imagenet})
    small = common.small(folder=0, also=_without_drop_path)
    return common.start(model, dataset, small | common.cifar(cifar) | {"svhn": svhn})


def _without_drop_path(config: ConfigDict) -> None:
    """In a few hundred steps columns of 40 layers learn nothing in batches of their own."""
    if config.dataset in ("digits", "synthetic"):
        config.model.overrides.drop_path_rate = 0.0


def dfn(model: str, dataset: str = "digits") -> ConfigDict:
    """Deeply-fused nets and DFN-MR ("On the Connection of Deep Fusion to Ensembling").

    Of both the code released with the second paper. CIFAR: 400 epochs of 64, rate 0.1, drops after
    1/2, 3/4 and 7/8 of them, flip and pad 4. ImageNet: 120 epochs of 256, rate 0.1, drops every 30,
    short side U[256, 480], 224 crop, flip, colours in fb.resnet's way instead of hue, saturation
    and lightness. Nesterov momentum, decay of all weights 1e-4.
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4)
        config.train.update(length="400epochs", batch_size=64)
        config.optimizer.update(nesterov=True, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=64)
        config.schedule.boundaries = ("200epochs", "300epochs", "350epochs")

    def imagenet(config: ConfigDict) -> None:
        common.fb_resnet(config)
        config.data.update(train_crop="scale_jitter", scale_range=(256, 480))
        config.train.length = "120epochs"
        config.optimizer.nesterov = True
        config.schedule.boundaries = ("30epochs", "60epochs", "90epochs")

    if model == "dfn_mr_imagenet":
        return common.start(model, dataset, common.small() | {"imagenet2012": imagenet})
    return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
