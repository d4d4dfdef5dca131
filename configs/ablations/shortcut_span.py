"""How many layers a shortcut spans.

Claim: a shortcut over a single layer has no advantage over a plain network; over two or more it
has.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §3.2.
Design: depth 38, half the width, ordering of the original unit.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet110_v2", rate=0.1, sgd=True)
    config.model.overrides.update(ordering="original", shortcut="A", stage_sizes=(6, 6, 6), width=8)
    return Ablation(
        base=config,
        variants={
            "two layers": {},
            "one layer": {"model.overrides.shortcut_span": 1},
            "three layers": {"model.overrides.shortcut_span": 3},
            "plain": {"model.overrides.shortcut": "none"},
        },
        claims=[
            Claim("one layer", "~", "plain"),
            Claim("two layers", "<", "plain"),
            Claim("three layers", "<", "plain"),
            Claim("two layers", "<", "one layer"),
        ],
        metric="train/loss",
    )
