"""Deeper plain networks train worse, deeper residual networks do not.

Claim: plain-56 has a higher training loss than plain-20; residual-56 has a lower one than
plain-56, and none that is higher than residual-20's. It is a matter of optimisation, not of
overfitting, so the training loss is compared.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §4.2, figure 6.
Design: half the width. Plain and residual networks of one depth have equal parameters; those of 56
layers have three times as many as those of 20.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_plain20", rate=0.1, sgd=True)
    config.model.overrides.width = 8
    return Ablation(
        base=config,
        variants={
            "plain-20": {"model.name": "cifar_plain20"},
            "plain-56": {"model.name": "cifar_plain56"},
            "residual-20": {"model.name": "cifar_resnet20"},
            "residual-56": {"model.name": "cifar_resnet56"},
        },
        claims=[
            Claim("plain-56", ">", "plain-20"),
            Claim("residual-56", "<", "plain-56"),
            Claim("residual-56", "<=", "residual-20"),
        ],
        sizes=[
            Sizes(quantity, (f"residual-{depth}", f"plain-{depth}"))
            for quantity in ("parameters", "macs")
            for depth in (20, 56)
        ],
        metric="train/loss",
    )
