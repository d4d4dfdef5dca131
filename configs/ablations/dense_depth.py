"""Deeper DenseNets.

Claim: the error falls as dense blocks get deeper, without degradation.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, table 2 and §5.
Design: DenseNet-BC, k = 12; what is compared is depth.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("densenet_bc_100_12", epochs=30, rate=0.1, sgd=True)
    layers = {"10 layers": 1, "16 layers": 2, "28 layers": 4}
    return Ablation(
        base=config,
        variants={
            name: {"model.overrides.stage_sizes": (count,) * 3} for name, count in layers.items()
        },
        claims=[Claim("16 layers", ">", "10 layers"), Claim("28 layers", ">", "16 layers")],
        sizes=[],
    )
