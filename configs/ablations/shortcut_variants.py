"""Anything on the shortcut but the identity is harder to optimise.

Claim: scaling, gating, 1x1 convolutions and dropout on the shortcuts of all units raise the
training error; a gate that starts open for the shortcut (b = -6) comes nearest to the identity.
Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, table 1.
Design: depth 38 instead of 110, half the width. Gates and convolutions on the shortcuts add up to
6 % of parameters and multiply-adds.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet110_v2", rate=0.1, sgd=True)
    config.model.overrides.update(ordering="original", shortcut="A", stage_sizes=(6, 6, 6), width=8)
    shut = {"model.overrides.gate_bias": -6.0}
    others = {
        "scale 0.5, branch 1": {"model.overrides.shortcut_scale": 0.5},
        "scale 0.5, branch 0.5": {
            "model.overrides.shortcut_scale": 0.5,
            "model.overrides.residual_scale": 0.5,
        },
        "exclusive gate, b 0": {"model.overrides.gate": "exclusive"},
        "shortcut gate, b 0": {"model.overrides.gate": "shortcut"},
        "1x1 convolution": {"model.overrides.shortcut": "C"},
        "dropout 0.5": {"model.overrides.shortcut_dropout": 0.5},
    }
    return Ablation(
        base=config,
        variants={
            "identity": {},
            **others,
            "shortcut gate, b -6": {"model.overrides.gate": "shortcut", **shut},
        },
        claims=[
            *(Claim(name, ">", "identity") for name in others),
            Claim("shortcut gate, b -6", "<", "shortcut gate, b 0"),
        ],
        metric="train/loss",
        sizes=[Sizes("parameters", most=1.06), Sizes("macs", most=1.06)],
    )
