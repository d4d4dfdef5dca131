"""Inception modules with and without shortcuts.

Claim: residual connections accelerate the training of Inception networks greatly.
Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", 2016, figures 23 and 24.
Design: four modules of Inception-ResNet-v1.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("inception_resnet_v1", size=75, epochs=5)
    config.model.overrides.stage_sizes = (1, 2, 1)
    return Ablation(
        base=config,
        variants={
            "with shortcuts": {},
            "without": {"model.overrides.residual": False},
        },
        claims=[Claim("with shortcuts", "<", "without")],
        metric="train/loss",
    )
