"""How much a dense layer must add, and what bottlenecks and compression save.

Claim: a larger growth rate k is better; with equally many parameters, bottlenecks (B) and
compression (C) are better than plain dense blocks.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, table 2 and §5.
Design: three blocks of four layers. B has five layers in its second block and C has a larger k,
which makes their parameters equal to those of the plain network within 2 %; they have a quarter
more multiply-adds.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("densenet_40_12", rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(4, 4, 4), growth_rate=12)
    plain, growth = "k = 12", "model.overrides.growth_rate"
    return Ablation(
        base=config,
        variants={
            plain: {},
            "k = 4": {growth: 4},
            "k = 24": {growth: 24},
            "B, k = 11": {
                "model.overrides.bottleneck": True,
                "model.overrides.stage_sizes": (4, 5, 4),
                growth: 11,
            },
            "C, k = 17": {"model.overrides.compression": 0.5, growth: 17},
        },
        claims=[
            Claim(plain, ">", "k = 4"),
            Claim("k = 24", ">", plain),
            Claim("B, k = 11", ">", plain),
            Claim("C, k = 17", ">", plain),
        ],
        sizes=[Sizes("parameters", (plain, "B, k = 11", "C, k = 17"), least=0.98, most=1.02)],
    )
