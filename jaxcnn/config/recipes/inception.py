"""Recipes of GoogLeNet and what came of it."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def googlenet(model: str, dataset: str = "digits") -> ConfigDict:
    """GoogLeNet ("Going Deeper with Convolutions", §6), as the Caffe reproduction trained it.

    The paper gives momentum 0.9, the crops, photometric distortions, the auxiliary heads with
    weight 0.3 and a rate that falls by 4 % every 8 epochs, and leaves the rest open. Of Caffe's
    "quick" solver: 2.4 million steps of 32, rate 0.01 falling with the square root of what is left,
    decay 2e-4. Tested on 144 crops, torchvision's form on one, as its figures are.
    """

    def imagenet(config: ConfigDict) -> None:
        config.model.overrides.aux_heads = True
        config.train.update(length="2400000steps", batch_size=32)
        config.optimizer.weight_decay = 2e-4
        config.schedule.update(name="polynomial", power=0.5)
        config.schedule.update(learning_rate=0.01, reference_batch=32)
        config.loss.aux_weight = 0.3
        config.data.photometric = 1.0
        if model != "googlenet_torchvision":
            config.eval.protocol = "googlenet144"

    small = common.small(**common.WITHOUT_NORM if model == "googlenet" else {})
    return common.start(model, dataset, small | {"imagenet2012": imagenet})


def bn_inception(model: str, dataset: str = "digits") -> ConfigDict:
    """BN-Inception ("Batch Normalization: Accelerating Deep Network Training", §4.2), BN-x30.

    Batches of 32, rate 0.045 that falls six times as fast as GoogLeNet's, a fifth of its decay, no
    dropout, 6 million steps. The paper distorts colours less than GoogLeNet's: here half as much.
    Tested on one crop, as the variants are compared; 144 are `--config.eval.protocol=googlenet144`.
    """

    def imagenet(config: ConfigDict) -> None:
        config.model.overrides.dropout_rate = 0.0
        config.data.photometric = 0.5
        config.train.update(length="6000000steps", batch_size=32)
        config.optimizer.weight_decay = 4e-5
        config.schedule.update(name="exponential", factor=0.96, every="1.333epochs")
        config.schedule.update(learning_rate=0.045, reference_batch=32)

    return common.start(model, dataset, common.small() | {"imagenet2012": imagenet})


def inception(model: str, dataset: str = "digits") -> ConfigDict:
    """Inception v2 and v3 ("Rethinking the Inception Architecture", §8), v4 and Inception-ResNet.

    RMSProp with decay 0.9 and ε = 1, momentum 0.9 (released code), rate 0.045 falling by 6 % every
    two epochs, decay 4e-5, moving average of the weights 0.9999; v3 also label smoothing 0.1, an
    auxiliary head with weight 0.4 (released code) and gradients clipped at norm 2. Crops and
    distortions of colour as in the released code. The papers train
    50 (v4: 20) asynchronous replicas with batches of 32: here one synchronous batch of as many
    images at the same rate. Length: 100 epochs in the paper of v3, the same here for v4.
    Tested on one crop; the papers also have 144 (`--config.eval.protocol=googlenet144`).
    """
    third = model in ("inception_v2", "inception_v3")

    def imagenet(config: ConfigDict) -> None:
        config.data.update(image_size=299, resize=342, mean=(0.5,) * 3, std=(0.5,) * 3)
        config.data.photometric = 1.0
        common.rmsprop(config, batch_size=1600 if third else 640)
        config.train.length = "100epochs"
        if third:
            config.optimizer.clip_norm = 2.0
        if model != "inception_v2":
            config.loss.label_smoothing = 0.1
        if model == "inception_v3":
            config.model.overrides.aux_heads = True
            config.loss.aux_weight = 0.4

    return common.start(model, dataset, common.small(96, folder=299) | {"imagenet2012": imagenet})
