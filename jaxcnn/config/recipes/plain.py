"""Recipes of the networks that are one chain of layers: LeNet, AlexNet, ZFNet, VGG, MobileNet."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def lenet(model: str, dataset: str = "digits") -> ConfigDict:
    """LeNet-5 ("Gradient-Based Learning Applied to Document Recognition", §III.B), its variants.

    Of the paper: the range of the inputs, and its second criterion (eq. 9) for the codes. Ours:
    batches, momentum and a cosine, where the paper has 20 passes of single examples whose steps a
    diagonal Levenberg-Marquardt method scales; on digits shifts by up to 2 pixels. MNIST: images of
    28x28 in the middle of 32x32, 20 passes, no shifts; Fashion-MNIST alike. The modern form keeps
    the normalisation of its data set, and has recipes of ours for colour.
    """

    def digits(config: ConfigDict) -> None:
        config.data.pad = 2
        config.train.length = "60epochs"
        config.optimizer.nesterov = True
        config.schedule.update(name="cosine", learning_rate=0.05, warmup="2epochs")
        config.eval.every = config.checkpoint.every = "10epochs"
        config.log.every = "100steps"
        if model != "lenet5_modern":
            background, ink = -0.1, 1.175
            config.data.mean = (-background / (ink - background),)
            config.data.std = (1 / (ink - background),)
        if model in ("lenet5", "lenet5_full_c3"):
            config.loss.name = "rbf_map"
            config.train.length = "40epochs"
            config.schedule.learning_rate = 0.003  # at 0.01 the units saturate

    def synthetic(config: ConfigDict) -> None:
        digits(config)
        config.data.channels = 1

    def mnist(config: ConfigDict) -> None:
        digits(config)
        config.data.update(image_size=32, pad=0)
        common.fit(config)
        config.train.length = "20epochs"
        config.schedule.warmup = "1epochs"
        config.eval.every = config.checkpoint.every = "1epochs"

    small = common.small(rate=1e-3, sets=common.COLOUR if model == "lenet5_modern" else ())
    own = {"digits": digits, "synthetic": synthetic, "mnist": mnist, "fashion_mnist": mnist}
    small.pop("folder")
    return common.start(model, dataset, small | own)


def alexnet(model: str, dataset: str = "digits") -> ConfigDict:
    """AlexNet ("ImageNet Classification with Deep Convolutional Neural Networks", §4 and §5).

    About 90 epochs of 128, momentum 0.9, decay 5e-4 of all weights, rate 0.01 with three drops on
    the plateau of the validation error, random crops of an image with short side 256, flip,
    lighting; tested on ten crops. Ours: the channel mean instead of the mean image. The form of
    torchvision is tested on one crop, as its figures are.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(image_size=227 if model in PAPER_ALEXNETS else 224)
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256), resize=256)
        config.data.lighting = 0.1
        config.train.update(length="90epochs", batch_size=128)
        config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
        config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=128)
        if model != "alexnet_torchvision":
            config.eval.protocol = "ten_crop"

    small = common.small(64, also=_narrow, **common.WITHOUT_NORM)
    return common.start(model, dataset, small | {"imagenet2012": imagenet})


PAPER_ALEXNETS = ("alexnet", "alexnet_one_tower")


def zfnet(model: str, dataset: str = "digits") -> ConfigDict:
    """ZFNet ("Visualizing and Understanding Convolutional Networks", §3).

    70 epochs of 128, momentum 0.9, rate 0.01 with drops on the plateau of the validation error,
    random crops of an image with short side 256, flip; filters of the first layer whose root mean
    square exceeds 0.1 are scaled back to it; tested on ten crops. Ours: AlexNet's
    decay, as the paper names none, the channel mean instead of the mean image, all crops instead of
    ten for each image in training.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256))
        config.train.update(length="70epochs", batch_size=128)
        config.optimizer.update(weight_decay=5e-4, decay_mask=("",))
        config.optimizer.update(max_rms=0.1, max_rms_mask=("^stage.*kernel$",))
        config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=128)
        config.eval.protocol = "ten_crop"

    small = common.small(64, also=_narrow, **common.WITHOUT_NORM)
    return common.start(model, dataset, small | {"imagenet2012": imagenet})


def _narrow(config: ConfigDict) -> None:
    """With 4096 units the hidden layers have most of the parameters, nine tenths of ZFNet's."""
    config.model.overrides.hidden_features = (512, 512)


def vgg(model: str, dataset: str = "digits") -> ConfigDict:
    """VGG ("Very Deep Convolutional Networks for Large-Scale Image Recognition", §3).

    74 epochs of 256, momentum 0.9, decay 5e-4, rate 0.01 with three drops on the plateau of the
    validation error, 224 crops of an image with short side 256 (`--config.data.scale_range` makes
    it the paper's 256 to 512), flip, lighting; tested densely at the scale of training, Q = S = 256
    (trained at 256 to 512 the paper has `--config.eval.scales="(256,384,512)"`). The nets with
    batch normalisation are torchvision's, and tested on one crop. Here the nets start from He
    initialisation. The paper started the deeper ones, B to E, from four convolutions and
    the dense layers of net A, whose run is a configs/vgg11.py:

      --config=configs/vgg16.py --config.init_from=runs/vgg11-digits --config.init_map=vgg_a
      --config.model.overrides.initialization=paper
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(train_crop="scale_jitter", scale_range=(256, 256), lighting=0.1)
        config.train.update(length="74epochs", batch_size=256)
        config.optimizer.weight_decay = 5e-4
        config.schedule.update(name="plateau", learning_rate=0.01, reference_batch=256)
        if not model.endswith("_bn"):
            config.eval.protocol = "dense"

    if model.endswith("_bn"):
        small = common.small(rate=1e-3, also=_narrow)
    elif model.startswith("vgg11"):
        small = common.small(also=_narrow, **common.WITHOUT_NORM)
    else:  # the deeper ones cannot take net A's rate
        small = common.small(also=_narrow, **common.WITHOUT_NORM | {"digits_rate": 0.0})
    return common.start(model, dataset, small | {"imagenet2012": imagenet})


def mobilenet(model: str, dataset: str = "digits") -> ConfigDict:
    """MobileNet ("MobileNets: Efficient Convolutional Neural Networks", §3.2).

    RMSProp as for Inception v3, little augmentation, no decay of the depthwise kernels. The paper
    gives neither length nor batch: 200 epochs of 512 are ours.
    """

    def imagenet(config: ConfigDict) -> None:
        config.data.update(mean=(0.5,) * 3, std=(0.5,) * 3)
        common.rmsprop(config, batch_size=512)
        config.train.length = "200epochs"
        config.optimizer.decay_mask = (r"^(?!.*depthwise).*kernel$",)

    return common.start(model, dataset, common.small() | {"imagenet2012": imagenet})
