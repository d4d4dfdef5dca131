"""Narrow layers near the image.

Claim: a network that compresses what it knows of the image strongly, and early, does worse than one
whose size shrinks gently.
Source: Szegedy et al., "Rethinking the Inception Architecture", 2015, §2, first principle.
Design: VGG-A with batch normalisation, without its last stage. The second stage has 24 maps, or 6
and wider stages around it, so that parameters and multiply-adds are equal.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=30)
    config.model.overrides.update(stage_sizes=(1, 1, 2, 2), pool_size=(1, 1), hidden_features=())
    widths = {"gentle": (16, 24, 48, 48), "early bottleneck": (36, 6, 51, 51)}
    return Ablation(
        base=config,
        variants={name: {"model.overrides.stage_features": maps} for name, maps in widths.items()},
        claims=[Claim("gentle", ">", "early bottleneck")],
        sizes=[Sizes(quantity, least=0.98, most=1.02) for quantity in ("parameters", "macs")],
    )
