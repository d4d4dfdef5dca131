"""The papers' recipes: return a config for a network's name and a data set.

Each paper has one file, named like its network's file in `jaxcnn.models`. The docstring
distinguishes the paper's choices from ours; `recipes(model)` returns a function per data set.
`recipe("densenet121", "cifar10")` is the config of `configs/densenet121.py:cifar10`.
"""

import importlib
from functools import partial

from ml_collections import ConfigDict

from jaxcnn.config.recipes import common
from jaxcnn.errors import UserError, nearest
from jaxcnn.models import MODELS

# Configs whose name differs from their network's.
NETWORKS = {
    "ladder": "ladder_mnist_mlp",
    "lenet5": "lenet5_modern",
    "lenet5_1998": "lenet5",
    "mobilenet_v1": "mobilenet_v1_100",
    "resnet50_modern": "resnet50",
}

# Second files of a paper in `jaxcnn.models`.
SAME_PAPER = {"identity_mappings": "preact_resnet"}


def recipe(name: str, dataset: str = "digits") -> ConfigDict:
    """Returns the config of the file `configs/<name>.py`, which need not exist.

    Args:
      name: a name such as "densenet121"; in most cases that of the network.
      dataset: a name such as "cifar10"; see `datasets.DATASETS`.

    Raises:
      UserError: if the name does not exist, or the data set has no recipe.
    """
    return common.start(NETWORKS.get(name, name), dataset, recipes_of(name))


def recipes_of(name: str) -> common.Recipes:
    """Returns the recipes of a config by data set, ours and published.

    Raises:
      UserError: if the name does not exist.
    """
    network = NETWORKS.get(name, name)
    if network not in MODELS:
        raise UserError(f"no config named {name!r}: {nearest(name, [*MODELS, *NETWORKS])}")
    file = "modern" if name == "resnet50_modern" else recipe_file(network)
    return importlib.import_module(f"{__name__}.{file}").recipes(network)


def recipe_file(network: str) -> str:
    """Returns the name of the file with a network's recipes, as in `jaxcnn.models`.

    Raises:
      UserError: if it is the user's own network.
    """
    constructor = MODELS[network].constructor
    while isinstance(constructor, partial):
        constructor = constructor.func
    package, _, file = constructor.__module__.rpartition(".")
    if package != "jaxcnn.models":
        raise UserError(
            f"{network} has no recipe: begin with that of another network, and set model.name"
        )
    return SAME_PAPER.get(file, file)
