"""Reductions in front of the large kernels, and auxiliary heads.

Claim: 1x1 reductions make the module affordable without loss; auxiliary heads regularise (0.5 % in
the paper's reading).
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, figure 2, §5; "Rethinking the
Inception Architecture", 2015, §4.
Design: GoogLeNet with batch normalisation, which trains in so few steps. The naive modules have
more than five times the multiply-adds.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("googlenet_torchvision", size=32, epochs=10)
    config.model.overrides.norm_momentum = 0.9  # statistics that keep up with so few steps
    return Ablation(
        base=config,
        variants={
            "reduced": {},
            "reduced, auxiliary heads": {"model.overrides.aux_heads": True},
            "naive": {"model.overrides.reduced": False},
        },
        claims=[
            Claim("reduced", ">=", "naive"),
            Claim("reduced, auxiliary heads", ">", "reduced"),
        ],
        sizes=[
            Sizes("macs", ("naive", "reduced"), least=0, most=0.2),
            Sizes("macs", ("reduced", "reduced, auxiliary heads")),  # which are of training alone
        ],
    )
