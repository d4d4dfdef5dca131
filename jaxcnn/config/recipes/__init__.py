"""The papers' recipes: one function for each family, from a network's name to a config.

A file in `configs/` is one call: `papers.densenet("densenet121", dataset)`. Each function knows the
data sets of its paper, and a short recipe of ours for `digits`, `synthetic` and `folder`.
"""

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
    "resnet",
    "resnext",
    "stochastic_depth",
    "vgg",
    "wide_resnet",
    "zfnet",
]
