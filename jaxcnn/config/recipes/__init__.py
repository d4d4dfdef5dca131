"""The papers' recipes: one function for each family, from a network's name to a config.

A file in `configs/` is one call, `recipes.densenet("densenet121", dataset)`, and `recipe` makes the
same config from the name of the file. Each function knows the data sets of its paper, and a short
recipe of ours for `digits`, `synthetic` and `folder`.
"""

import re

from ml_collections import ConfigDict

from jaxcnn.config.recipes.deep_plain import dsn, highway, nin
from jaxcnn.config.recipes.fused import dfn, fractalnet
from jaxcnn.config.recipes.inception import bn_inception, googlenet, inception
from jaxcnn.config.recipes.ladder import ladder
from jaxcnn.config.recipes.plain import alexnet, lenet, mobilenet, vgg, zfnet
from jaxcnn.config.recipes.residual import (
    densenet,
    modern,
    preact_resnet,
    resnet,
    resnext,
    stochastic_depth,
    wide_resnet,
)
from jaxcnn.errors import UserError, nearest
from jaxcnn.models import MODELS

# The function of a network's name: that of the first pattern that the name begins with.
FAMILIES = {
    "alexnet": alexnet,
    "bn_inception|inception_v2_slim": bn_inception,
    "densenet": densenet,
    "dfn": dfn,
    "dsn": dsn,
    "fractalnet": fractalnet,
    "googlenet": googlenet,
    "highway": highway,
    "inception": inception,
    "ladder": ladder,
    "lenet": lenet,
    "mobilenet": mobilenet,
    "nin": nin,
    "resnext": resnext,
    "vgg": vgg,
    "wide_resnet|wrn": wide_resnet,
    "zfnet": zfnet,
    ".*resnet.*_sd$": stochastic_depth,
    ".*resnet.*_v2$": preact_resnet,
    ".*resnet|.*plain": resnet,
}
# Files of `configs/` that are named otherwise than their network.
NETWORKS = {
    "ladder": "ladder_mnist_mlp",
    "lenet5": "lenet5_modern",
    "lenet5_1998": "lenet5",
    "mobilenet_v1": "mobilenet_v1_100",
}


def recipe(name: str, dataset: str = "digits") -> ConfigDict:
    """Returns the config of the file `configs/<name>.py`, which need not be there.

    Args:
      name: such as "densenet121".
      dataset: such as "cifar10"; see `defaults.DATASETS`.

    Raises:
      UserError: for a name that does not exist, or a data set without a recipe.
    """
    if name == "resnet50_modern":
        return modern("resnet50", dataset)
    network = NETWORKS.get(name, name)
    if network not in MODELS:
        raise UserError(f"no config named {name!r}: {nearest(name, [*MODELS, *NETWORKS])}")
    family = next(make for pattern, make in FAMILIES.items() if re.match(pattern, network))
    return family(network, dataset)


__all__ = [
    "alexnet",
    "bn_inception",
    "densenet",
    "dfn",
    "dsn",
    "fractalnet",
    "googlenet",
    "highway",
    "inception",
    "ladder",
    "lenet",
    "mobilenet",
    "modern",
    "nin",
    "preact_resnet",
    "recipe",
    "resnet",
    "resnext",
    "stochastic_depth",
    "vgg",
    "wide_resnet",
    "zfnet",
]
