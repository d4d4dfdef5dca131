"""Companion losses on hidden layers.

Claim: companion objectives lower the test error of a network that has few examples.
Source: Lee et al., "Deeply-Supervised Nets", 2014, §3 and figure 2.
Found: does not show. Quick, 3 seeds, test accuracy: without companions 0.76 ± 0.13, with 0.71 ±
0.31, with companions to the end 0.71 ± 0.32.
Ours: a quarter of the width, 300 training examples. The companions' classifiers have 161,310
parameters, in training alone; what is tested is equal.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("dsn_cifar10"), size=16, examples=300)
    config.model.overrides.features = ((48, 40, 24), (48, 48, 48), (48, 48))
    return Ablation(
        base=config,
        variants={
            "companions": {"model.overrides.aux_heads": True},
            "none": {"model.overrides.aux_heads": False},
            "companions to the end": {"model.overrides.aux_heads": True, "loss.aux_decay": "none"},
        },
        sizes=[Sizes("macs")],
        quick=short(150),
        baseline="none",
    )
