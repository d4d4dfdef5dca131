"""LeNet-5 ("Gradient-Based Learning Applied to Document Recognition", §III.B) and its variants.

From the paper: the range of the inputs, and its second criterion (eq. 9) for the codes. Ours:
batches, momentum and a cosine, where the paper has 20 passes of single examples with steps scaled
by a diagonal Levenberg-Marquardt method; on digits, shifts by up to 2 pixels. MNIST: images of
28x28 centred in 32x32, 20 passes, no shifts; the same for Fashion-MNIST. The modern form keeps the
normalisation of its data set, and has our own recipes for colour images.

`--config.loss.name=rbf_mse` is the paper's first criterion, without competition between classes.
"""

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common

BACKGROUND, INK = -0.1, 1.175


def recipes(model: str) -> common.Recipes:
    """Returns the recipes of a LeNet-5."""
    small = common.small(
        rate=1e-3, sets=common.COLOUR if model == "lenet5_modern" else (), folder=0
    )
    if model != "lenet5_modern":
        del small["glyphs"]  # the codes of the output are of ten classes
    ours = small | {"digits": digits, "synthetic": synthetic, "fashion_mnist": mnist}
    return common.Recipes(ours, {"mnist": mnist})


def digits(config: ConfigDict) -> None:
    """Sets our recipe for digits."""
    config.data.pad = 2
    config.train.length = "60epochs"
    config.optimizer.nesterov = True
    config.schedule.update(name="cosine", learning_rate=0.05, warmup="2epochs")
    config.eval.every = config.checkpoint.every = "10epochs"
    config.log.every = "100steps"
    if config.model.name != "lenet5_modern":
        config.data.mean = (-BACKGROUND / (INK - BACKGROUND),)
        config.data.std = (1 / (INK - BACKGROUND),)
    if config.model.name in ("lenet5", "lenet5_full_c3"):
        config.loss.name = "rbf_map"
        config.train.length = "40epochs"
        config.schedule.learning_rate = 0.003  # at 0.01 the units saturate


def synthetic(config: ConfigDict) -> None:
    """Sets the recipe for digits, with one channel."""
    digits(config)
    config.data.channels = 1


def mnist(config: ConfigDict) -> None:
    """Sets the paper's number of passes."""
    digits(config)
    config.data.update(image_size=32, pad=0)
    common.fit(config)
    config.train.length = "20epochs"
    config.schedule.warmup = "1epochs"
    config.eval.every = config.checkpoint.every = "1epochs"
