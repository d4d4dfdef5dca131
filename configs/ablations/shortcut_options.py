"""Shortcuts where the shape changes: zero channels, a projection, or projections everywhere.

Claim: all options are far better than none; B is slightly better than A, C slightly better than B.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, table 3.
Design: ResNet-32 of half the width instead of ResNet-34 on ImageNet. Projections add up to 6 % of
parameters and multiply-adds, which the claim does not hold equal.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet32", epochs=30, rate=0.1, sgd=True)
    config.model.overrides.width = 8
    return Ablation(
        base=config,
        variants={
            **{option: {"model.overrides.shortcut": option} for option in ("A", "B", "C")},
            "none": {"model.overrides.shortcut": "none"},
        },
        claims=[
            Claim("A", ">", "none"),
            Claim("B", ">", "A"),
            Claim("C", ">", "B"),
        ],
        sizes=[Sizes("parameters", most=1.06), Sizes("macs", most=1.06)],
    )
