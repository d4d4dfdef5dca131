"""Depthwise separable against full convolutions, and narrower networks.

Claim: the separable network loses about 1 % of accuracy for an eighth of the multiply-adds;
narrower ones lose; with about equal cost thinner is better than shallower.
Source: Howard et al., "MobileNets", 2017, tables 4 to 6.
Design: a quarter of the paper's width as reference, faster running statistics. The shallow
network, without five layers of 512·α maps, is compared with the thin one of 0.19.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("mobilenet_v1_025", size=32, epochs=30)
    config.model.overrides.norm_momentum = 0.9
    width = "model.overrides.width_multiplier"
    return Ablation(
        base=config,
        variants={
            "separable, 0.25": {},
            "full, 0.25": {"model.overrides.separable": False},
            "separable, 0.125": {width: 0.125},
            "separable, 0.19": {width: 0.1875},
            "shallow, 0.25": {"model.overrides.stage_sizes": (1, 2, 2, 1, 2)},
        },
        claims=[
            Claim("separable, 0.25", ">=", "full, 0.25", 0.02),
            Claim("separable, 0.125", "<", "separable, 0.25"),
            Claim("separable, 0.19", ">", "shallow, 0.25"),
        ],
        sizes=[
            Sizes("macs", ("full, 0.25", "separable, 0.25"), least=1 / 9, most=1 / 7),
            Sizes("macs", ("separable, 0.19", "shallow, 0.25"), least=0.9, most=1.1),
            Sizes("parameters", ("separable, 0.19", "shallow, 0.25"), least=0.9, most=1.1),
        ],
    )
