"""Companion losses on hidden layers.

Claim: companion objectives lower the test error of a network that has few examples.
Source: Lee et al., "Deeply-Supervised Nets", 2014, §3 and figure 2.
Design: a quarter of the width. The companions' classifiers have parameters in training alone; what
is tested is equal.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("dsn_cifar10", epochs=30, rate=1e-3)
    config.model.overrides.features = ((48, 40, 24), (48, 48, 48), (48, 48))
    return Ablation(
        base=config,
        variants={
            "none": {"model.overrides.aux_heads": False},
            "companions": {"model.overrides.aux_heads": True},
            "companions to the end": {"model.overrides.aux_heads": True, "loss.aux_decay": "none"},
        },
        claims=[Claim("companions", ">", "none"), Claim("companions to the end", ">", "none")],
        sizes=[Sizes("macs")],
    )
