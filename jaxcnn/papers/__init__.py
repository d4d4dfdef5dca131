"""The papers' recipes: one function for each family, from a network's name to a config.

A file in `configs/` is one call: `papers.densenet("densenet121", dataset)`. Each function knows the
data sets of its paper, and a short recipe of ours for `digits`, `synthetic` and `folder`.
"""

from jaxcnn.papers.inception import bn_inception, googlenet, inception
from jaxcnn.papers.plain import alexnet, lenet, mobilenet, vgg
from jaxcnn.papers.residual import densenet, preact_resnet, resnet, resnext, wide_resnet

__all__ = [
    "alexnet",
    "bn_inception",
    "densenet",
    "googlenet",
    "inception",
    "lenet",
    "mobilenet",
    "preact_resnet",
    "resnet",
    "resnext",
    "vgg",
    "wide_resnet",
]
