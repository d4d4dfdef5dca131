"""AlexNet in two towers or in one.

Claim: the two towers of half the width, joined in conv3 and the dense layers, are a little better
(1.7 % top-1) than one tower with half the kernels; one full tower is the more costly.
Source: Krizhevsky et al., 2012, §3.2.
Design: thin networks (32 to 96 maps) on 64x64 images.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("alexnet", size=64, rate=1e-3)
    config.model.overrides.update(features=(32, 64, 96, 96, 64), hidden_features=(256, 256))
    config.model.overrides.dropout_rate = 0.0
    return Ablation(
        base=config,
        variants={
            "two towers": {},
            "one tower": {"model.overrides.towers": 1},
            "one tower, half the maps": {
                "model.overrides.towers": 1,
                "model.overrides.features": (16, 32, 48, 48, 64),
            },
        },
        claims=[Claim("two towers", ">", "one tower, half the maps")],
        sizes=[  # the claim compares kernels, which are half as many or twice
            Sizes("macs", ("two towers", "one tower"), least=1.3, most=2),
            Sizes("macs", ("two towers", "one tower, half the maps"), least=0.5, most=0.7),
        ],
    )
