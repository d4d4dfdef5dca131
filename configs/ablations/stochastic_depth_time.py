"""Stochastic depth saves time, if dropped units are not computed.

Claim: linear decay to 0.5 leaves three quarters of the units on average, so training takes less
time, a quarter in the paper.
Source: Huang et al., "Deep Networks with Stochastic Depth", 2016, §4, "Training time savings".
Design: depth 38. Times are of runs with nothing beside them; those of one variant follow each
other.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import speed
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet110_sd", epochs=6, rate=0.1, sgd=True)
    config.model.overrides.stage_sizes = (6, 6, 6)
    return Ablation(
        base=config,
        variants={
            "constant depth": {"model.overrides.survival_probability": 1.0},
            "computed, then dropped": {"model.overrides.skip_dropped": False},
            "skipped": {"model.overrides.skip_dropped": True},
        },
        claims=[
            Claim("skipped", ">", "constant depth"),
            Claim("skipped", ">", "computed, then dropped"),
        ],
        metric="steps per second",
        limits=(0, float("inf")),
        measure=speed,
        alone=True,
    )
