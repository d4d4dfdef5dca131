"""Leaving out residual units at random regularises.

Claim: with linear decay to 0.5 the test error is lower than with constant depth; uniform survival
is worse than linear decay.
Source: Huang et al., "Deep Networks with Stochastic Depth", 2016, §4 and figure 8.
Design: depth 38 instead of 110, half the width, trained to the end of its curve.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet110_sd", epochs=60, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(6, 6, 6), width=8)
    return Ablation(
        base=config,
        variants={
            "constant depth": {"model.overrides.survival_probability": 1.0},
            "linear to 0.8": {"model.overrides.survival_probability": 0.8},
            "linear to 0.5": {},
            "uniform 0.5": {"model.overrides.survival": "uniform"},
        },
        claims=[
            Claim("linear to 0.8", ">", "constant depth"),
            Claim("linear to 0.5", ">", "constant depth"),
            Claim("linear to 0.5", ">", "uniform 0.5"),
        ],
    )
