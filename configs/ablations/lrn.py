"""Response normalisation across maps.

Claim: LRN lowers the error of AlexNet (1.4 % top-1); in VGG it does not help.
Source: Krizhevsky et al., 2012, §3.3; Simonyan and Zisserman, 2014, table 3 (A against A-LRN).
Design: a thin AlexNet (32 to 96 maps) on 64x64 images, VGG-A with 16 to 64 maps on 32x32.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs

ALEXNET = {
    "model.overrides.features": (32, 64, 96, 96, 64),
    "model.overrides.hidden_features": (256, 256),
}
VGG = {
    "data.image_size": 32,
    "data.pad": 2,
    "model.overrides.stage_features": (16, 32, 64, 64, 64),
    "model.overrides.pool_size": (1, 1),
    "model.overrides.hidden_features": (128, 128),
}


def get_ablation():
    config = on_glyphs("alexnet", size=64, rate=1e-3)
    config.model.overrides.dropout_rate = 0.0  # with it, both hardly train in so few steps
    return Ablation(
        base=config,
        variants={
            "AlexNet without": {"model.overrides.lrn": False, **ALEXNET},
            "AlexNet with": {"model.overrides.lrn": True, **ALEXNET},
            "VGG A": {"model.name": "vgg11", **VGG},
            "VGG A-LRN": {"model.name": "vgg11_lrn", **VGG},
        },
        claims=[Claim("AlexNet with", ">", "AlexNet without"), Claim("VGG A-LRN", "<=", "VGG A")],
        sizes=[
            Sizes(quantity, variants)
            for quantity in ("parameters", "macs")
            for variants in (("AlexNet without", "AlexNet with"), ("VGG A", "VGG A-LRN"))
        ],
    )
