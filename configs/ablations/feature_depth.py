"""Shallow and deep features.

Claim: features of higher layers tell the classes apart better than those of lower layers.
Source: ours, after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
table 7, which transfers features to other data.
Design: VGG-A with batch normalisation, without its last stage and with 16 to 64 maps; a logistic
regression on the mean of each map of a stage, fitted to the images that the network was trained on.
All three are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import linear_probe
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn")
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=())
    layers = {f"stage {number}": f"stage{number}" for number in (2, 3, 4)}
    return Ablation(
        base=config,
        variants={name: {} for name in layers},
        claims=[Claim("stage 3", ">", "stage 2"), Claim("stage 4", ">", "stage 3")],
        metric="test accuracy of a linear classifier",
        limits=(0, 1),
        measure={name: partial(linear_probe, layer=layer) for name, layer in layers.items()},
    )
