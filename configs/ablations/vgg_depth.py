"""Deeper networks of 3x3 convolutions.

Claim: the error falls from A to D and not from D to E; 3x3 in place of 1x1 (D against C) is better.
Source: Simonyan and Zisserman, 2014, table 3 (11, 13, 16, 16 and 19 layers).
Design: without the last stage, which has 2 to 4 layers, 16 to 64 maps, without hidden dense layers;
with BN, since D and E do not start without pre-initialisation. Trained to the end of their curve.
What is compared is depth, at equal widths.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=40)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), pool_size=(1, 1))
    config.model.overrides.hidden_features = ()

    def stages(name, *sizes):
        return {"model.name": name, "model.overrides.stage_sizes": sizes}

    return Ablation(
        base=config,
        variants={
            "A": stages("vgg11_bn", 1, 1, 2, 2),
            "B": stages("vgg13_bn", 2, 2, 2, 2),
            "C, 1x1": stages("vgg16_1x1_bn", 2, 2, 3, 3),
            "D": stages("vgg16_bn", 2, 2, 3, 3),
            "E": stages("vgg19_bn", 2, 2, 4, 4),
        },
        claims=[
            Claim("B", ">", "A"),
            Claim("D", ">", "B"),
            Claim("E", "~", "D"),
            Claim("D", ">", "C, 1x1"),
        ],
        sizes=[],
    )
