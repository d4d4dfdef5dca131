"""Units removed after training.

Claim: a plain network breaks when units are taken out; a residual one loses little, and one trained
with stochastic depth least.
Source: Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", 2016;
Huang et al., 2016.
Design: 26 layers of half the width, trained to the end of their curve. Of the ten units that keep
the shape, which all three networks can lose, a quarter is removed, in twelve random ways. What is
compared is the test error that this adds.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.robustness import lesion
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet32", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(4, 4, 4), width=8)
    return Ablation(
        base=config,
        variants={
            "residual": {},
            "stochastic depth": {
                "model.name": "cifar_resnet110_sd",
                "model.overrides.shortcut": "A",
            },
            "plain": {"model.overrides.shortcut": "none"},
        },
        claims=[
            Claim("residual", "<", "plain"),
            Claim("stochastic depth", "<", "residual"),
        ],
        metric="test error added without a quarter of the units",
        limits=(-1, 1),
        x="units removed",
        measure=lesion,
    )
