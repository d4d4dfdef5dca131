"""More views of the same images.

Claim: shifted crops reduce overfitting; a change that is no symmetry of the classes, such as a
mirrored character, does harm.
Source: Krizhevsky et al., 2012, §4.1; He et al., 2015, §4.2 (padded crops and flips of CIFAR).
Design: ResNet-20 of half the width.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", epochs=30, rate=0.1, sgd=True)
    config.model.overrides.width = 8
    return Ablation(
        base=config,
        variants={
            "none": {"data.pad": 0},
            "shifts of 1 pixel": {"data.pad": 1},
            "shifts of 2 pixels": {"data.pad": 2},
            "flips": {"data.pad": 0, "data.flip": True},
        },
        claims=[
            Claim("shifts of 1 pixel", ">", "none"),
            Claim("shifts of 2 pixels", ">", "none"),
            Claim("flips", "<", "none"),
        ],
    )
