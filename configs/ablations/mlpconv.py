"""Layers of 1x1 convolutions after each convolution.

Claim: a convolution followed by 1x1 convolutions (mlpconv) is better than a plain one of the same
cost.
Source: Lin et al., "Network In Network", 2013, §3.1.
Design: NiN's MNIST network of half the width, and three plain convolutions with as many parameters
within 1 %; it has a fifth more multiply-adds. They start from He's weights.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("nin_mnist", epochs=60, rate=3e-3)
    config.model.kernel_init = "he_normal"
    return Ablation(
        base=config,
        variants={
            "mlpconv": {"model.overrides.features": ((48, 32, 24), (64, 48, 24), (64, 48))},
            "plain": {"model.overrides.features": ((36,), (44,), (44,))},
        },
        claims=[Claim("mlpconv", ">", "plain")],
        sizes=[Sizes("parameters")],
    )
