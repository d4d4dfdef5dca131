"""Recipes of the Ladder networks."""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common


def ladder(model: str, dataset: str = "digits") -> ConfigDict:
    """Ladder networks ("Semi-Supervised Learning with Ladder Networks", §4).

    Adam at 0.002, whose last part falls linearly to 0 (a third of the run; for the convolutional
    network a seventh), batches of 100 images with label and 100 without, nothing augmented; labels
    of 100 images of MNIST and 150 epochs, of 4,000 contrast-normalised and whitened ones of
    CIFAR-10 and 70 epochs. Ours: the lengths on digits, and smaller images and batches of them for
    the convolutional network.

    The same network without the ladder is `--config.model.overrides.decoder=False`; on the labelled
    examples alone also `--config.data.unlabelled_per_labelled=0 --config.train.batch_size=100` and
    the lengths in steps, an epoch then being a pass over 100 images.
    """

    def paper(config: ConfigDict) -> None:
        config.model.overrides.decoder = True
        config.data.update(labelled=100, unlabelled_per_labelled=1)
        config.train.batch_size = 200
        config.optimizer.update(name="adam", weight_decay=0.0)
        config.schedule.update(name="polynomial", learning_rate=0.002)
        config.schedule.update(warmup_kind="constant", warmup_fraction=1.0)

    def digits(config: ConfigDict) -> None:
        paper(config)
        if model == "ladder_conv_large_gamma":
            config.data.image_size = 16
            config.train.update(length="4epochs", batch_size=64)
            config.schedule.warmup = "3epochs"
            return
        config.data.update(image_size=28, channels=1, mean=(0.0,), std=(1.0,))
        config.train.length = "60epochs"
        config.schedule.warmup = "40epochs"
        config.eval.every = config.checkpoint.every = "10epochs"
        config.log.every = "10epochs"

    def cifar10(config: ConfigDict) -> None:
        paper(config)
        config.data.update(labelled=4000, preprocess="zca")
        config.train.length = "70epochs"
        config.schedule.warmup = "60epochs"

    def mnist(config: ConfigDict) -> None:
        paper(config)
        config.data.update(mean=(0.0,), std=(1.0,))
        config.train.length = "150epochs"
        config.schedule.warmup = "100epochs"

    recipes: common.Recipes = {"digits": digits, "synthetic": digits}
    if model == "ladder_mnist_mlp":
        recipes |= {"mnist": mnist, "fashion_mnist": mnist}
    if model == "ladder_conv_large_gamma":
        recipes["cifar10"] = cifar10
    return common.start(model, dataset, recipes)
