"""Easy images need fewer layers.

Claim: to answer after the second stage costs less on the images that the network is sure of than on
the others.
Source: ours, after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
table 7, which reads classes off hidden layers.
Design: the network of `feature_depth`; a logistic regression on the mean of each map of the second
stage answers early. The test images are halved by the network's largest probability, without their
labels. What is compared is the share of the network's right answers that the early ones get wrong.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import lost_at_layer
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn")
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=())
    halves = {"sure half": True, "other half": False}
    return Ablation(
        base=config,
        variants={name: {} for name in halves},
        claims=[Claim("sure half", "<", "other half")],
        metric="share of right answers lost after stage 2",
        limits=(0, 1),
        measure={
            name: partial(lost_at_layer, layer="stage2", sure=sure) for name, sure in halves.items()
        },
    )
