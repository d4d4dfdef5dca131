"""Recipes of the networks with shortcuts: ResNets and DenseNets."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet ("Deep Residual Learning", §3.4 and §4.2) and its plain twins.

    ImageNet: 600k steps of 256, a drop whenever the validation error stops, short side U[256, 480],
    224 crop, flip, lighting, decay of all weights 1e-4; tested on ten crops (for the paper's best
    figures `--config.eval.protocol=multi_scale_dense`). Ours: the channel mean instead of the
    mean image, which CIFAR has. CIFAR: 64k steps of 128, drops at 32k and 48k, 45k/5k split, pad 4;
    the networks of 110 layers and more start at a tenth of the rate.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 480), lighting=0.1)
        config.train.update(length="600000steps", batch_size=256)
        config.schedule.update(name="plateau", learning_rate=0.1, reference_batch=256)
        config.optimizer.decay_mask = ("",)
        config.eval.protocol = "ten_crop"

    if model.startswith("cifar_"):
        return common.start(
            model, dataset, common.small(folder=0) | common.cifar(common.cifar_resnet)
        )
    papers = {"imagenet2012": imagenet} | common.cifar(common.cifar_resnet)
    return common.start(model, dataset, common.small() | papers)


def preact_resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet v2 ("Identity Mappings in Deep Residual Networks", §4 and its appendix).

    ImageNet: 90 epochs of 256 in fb.resnet's way, 224 crops in training, one of 320 in evaluation;
    ours: of an image with short side 320. CIFAR: as ResNet, but the deep networks warm up for 400
    steps and nothing is held out.
    """

    def imagenet(config: ConfigDict) -> None:
        common.fb_resnet(config)
        config.data.update(eval_image_size=320, resize=320)

    def cifar(config: ConfigDict) -> None:
        common.cifar_resnet(config)
        config.data.update(holdout=0, preprocess="channels")

    if model.startswith("cifar_"):
        return common.start(model, dataset, common.small(folder=0) | common.cifar(cifar))
    return common.start(model, dataset, common.small() | {"imagenet2012": imagenet})


def stochastic_depth(model: str, dataset: str = "digits") -> ConfigDict:
    """ResNet with stochastic depth ("Deep Networks with Stochastic Depth", §4).

    CIFAR: 500 epochs of 128, Nesterov momentum, drops at 250 and 375, decay of all weights 1e-4,
    45k/5k split, flip and pad 4; the paper reports the epoch that is best on the 5,000, which is
    the checkpoint kept as best. No warm-up, and the mean image is subtracted, as in the released
    code. SVHN: 50 epochs of the training and the extra images, drops at 30 and 35, nothing
    augmented, evaluated every 200 steps; 400 of each class are held out of the former and 200 of
    the latter. Ours: the division by each channel's deviation, not by a single one; the start of
    convolutions, whose variance goes by the fan-out; and scales of BatchNorm that start at 1, where
    torch drew them from U(0, 1).
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4, holdout=5000, preprocess="mean_image")
        config.train.update(length="500epochs", batch_size=128)
        config.optimizer.update(nesterov=True, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=128)
        config.schedule.boundaries = ("250epochs", "375epochs")

    def svhn(config: ConfigDict) -> None:
        cifar(config)
        common.svhn_with_extra(config)
        common.hold_out_svhn(config)
        config.train.length = "50epochs"
        config.schedule.boundaries = ("30epochs", "35epochs")
        config.eval.every = "200steps"

    small = common.small(folder=0)
    return common.start(model, dataset, small | common.cifar(cifar) | {"svhn": svhn})


def wide_resnet(model: str, dataset: str = "digits") -> ConfigDict:
    """Wide ResNet ("Wide Residual Networks", §3).

    CIFAR: 200 epochs of 128, Nesterov momentum, rate 0.1 that falls to a fifth at 60, 120 and 160,
    decay 5e-4, flip and crops of the image reflected by 4. SVHN: 160 epochs, rate 0.01 that falls
    to a tenth at 80 and 120, dropout 0.4, pixels in [0, 1], nothing augmented, with the extra
    images. ImageNet: in fb.resnet's way. Ours: scales of BatchNorm start at 1, where torch drew
    them from U(0, 1).
    """

    def cifar(config: ConfigDict) -> None:
        config.data.update(flip=True, pad=4, pad_mode="reflect")
        config.train.update(length="200epochs", batch_size=128)
        config.optimizer.update(nesterov=True, weight_decay=5e-4, decay_mask=("",))
        config.schedule.update(name="step", learning_rate=0.1, reference_batch=128, factor=0.2)
        config.schedule.boundaries = ("60epochs", "120epochs", "160epochs")

    def svhn(config: ConfigDict) -> None:
        cifar(config)
        config.model.overrides.dropout_rate = 0.4
        common.svhn_with_extra(config)
        config.data.update(mean=(0.0,), std=(1.0,))
        config.train.length = "160epochs"
        config.schedule.update(learning_rate=0.01, factor=0.1)
        config.schedule.boundaries = ("80epochs", "120epochs")

    if model.startswith("wrn_"):
        papers = common.cifar(cifar) | {"svhn": svhn}
        return common.start(model, dataset, common.small(folder=0) | papers)
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
    quarters, flip and pad 4 (without them the paper adds dropout 0.2). SVHN: 40 epochs, drops at 20
    and 30, with the extra images, nothing augmented, dropout 0.2, pixels in [0, 1]; the paper
    reports the epoch that is best on 6,000 images that it holds out, which is the checkpoint kept
    as best. It does not say how they are drawn: here without regard to class. Nesterov momentum,
    decay of all weights 1e-4.
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

    def svhn(config: ConfigDict) -> None:
        cifar(config)
        config.model.overrides.dropout_rate = 0.2
        common.svhn_with_extra(config)
        config.data.update(mean=(0.0,), std=(1.0,), holdout=6000)
        config.train.length = "40epochs"
        config.schedule.boundaries = ("20epochs", "30epochs")

    if model.startswith("densenet_"):
        papers = common.cifar(cifar) | {"svhn": svhn}
        return common.start(model, dataset, common.small(folder=0) | papers)
    return common.start(
        model, dataset, common.small() | {"imagenet2012": imagenet} | common.cifar(cifar)
    )


def modern(model: str, dataset: str = "digits") -> ConfigDict:
    """A residual network with torchvision's recipe of 2021, of which its V2 weights came.

    SGD with momentum 0.9, 600 epochs of 1024, rate 0.5 from a hundredth of it over 5 epochs and
    then along a cosine, decay 2e-5 but of BatchNorm, label smoothing 0.1, TrivialAugment, mixup 0.2
    or CutMix 1, erasing of a tenth of the images, four views of each example in a batch; trained at
    176, tested at 224 of a short side of 232. Its averages move by 1 - 0.00109 every 32 steps: here
    by 1 - 0.000034 each step. Ours: each image draws its own share of mixing, not each batch.
    Smaller data have a short recipe of ours with mixing, erasing and averages.
    """

    def mixed(config: ConfigDict) -> None:
        config.loss.label_smoothing = 0.1
        config.data.update(mixup=0.2, cutmix=1.0, random_erasing=0.1)
        config.data.update(random_erasing_area=(0.02, 0.33), random_erasing_fill="mean")

    def imagenet(config: ConfigDict) -> None:
        mixed(config)
        config.data.update(image_size=176, eval_image_size=224, resize=232)
        config.data.update(auto_augment="trivialaugment", repeats=4)
        config.train.update(length="600epochs", batch_size=1024, ema_decay=1 - 3.4e-5)
        config.optimizer.update(weight_decay=2e-5, decay_mask=("kernel$", "^classifier/"))
        config.schedule.update(name="cosine", learning_rate=0.5, reference_batch=1024)
        config.schedule.update(warmup="5epochs", warmup_fraction=0.01)

    def averaged(config: ConfigDict) -> None:
        mixed(config)
        config.train.ema_decay = 0.999

    return common.start(model, dataset, common.small(also=averaged) | {"imagenet2012": imagenet})
