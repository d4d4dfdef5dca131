"""Anything on the shortcut but the identity is harder to optimise.

Claim: scaling, gating, 1x1 convolutions and dropout on the shortcuts of all units raise the
training error; a gate that starts open for the shortcut (b = -6) comes
nearest to the identity.
Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, table 1.
Found: agrees but for the exclusive gate, which does no better with b = -6, where it lets little of
the branch through. Quick, 3 seeds, training loss: identity 0.19 ± 0.11 and shortcut gate with b =
-6 0.16 ± 0.10; 1x1 convolution 0.86 ± 0.58, scale 0.5 1.12 ± 0.57, shortcut gate with b = 0 1.15 ±
0.57, scale 0 1.60 ± 0.71, scale 0.5 of both 1.64 ± 0.19, exclusive gate 1.97 ± 0.32 (b = 0) and
2.26 ± 0.04 (b = -6); with dropout on the shortcut it explodes (249 to 2e7).
Ours: depth 56 instead of 110; the training loss, since most variants fail to train. Gates and
convolutions on the shortcuts add up to 6 % of parameters and multiply-adds.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_resnet110_v2"))
    config.model.overrides.update(ordering="original", shortcut="A", stage_sizes=(9, 9, 9), width=8)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "identity": {},
            "scale 0, branch 1": {"model.overrides.shortcut_scale": 0.0},
            "scale 0.5, branch 1": {"model.overrides.shortcut_scale": 0.5},
            "scale 0.5, branch 0.5": {
                "model.overrides.shortcut_scale": 0.5,
                "model.overrides.residual_scale": 0.5,
            },
            "exclusive gate, b 0": {"model.overrides.gate": "exclusive"},
            "exclusive gate, b -6": {
                "model.overrides.gate": "exclusive",
                "model.overrides.gate_bias": -6.0,
            },
            "shortcut gate, b 0": {"model.overrides.gate": "shortcut"},
            "shortcut gate, b -6": {
                "model.overrides.gate": "shortcut",
                "model.overrides.gate_bias": -6.0,
            },
            "1x1 convolution": {"model.overrides.shortcut": "C"},
            "dropout 0.5": {"model.overrides.shortcut_dropout": 0.5},
        },
        metric="train/loss",
        log_y=True,
        sizes=[Sizes("parameters", most=1.06), Sizes("macs", most=1.06)],
        quick={**short(100), "model.overrides.stage_sizes": (6, 6, 6)},
    )
