"""What auxiliary heads teach the low layers.

Claim: auxiliary classifiers increase the gradient that reaches the low layers.
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, §5.
Design: GoogLeNet without batch normalisation before training; the norm of the whole loss's gradient
with respect to the kernel of the first convolution. Auxiliary losses have the paper's weight, 0.3.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import first_gradient
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("googlenet", size=80)
    config.model.overrides.aux_heads = True
    weights = {"main head alone": 0.0, "with auxiliary heads": 0.3}
    return Ablation(
        base=config,
        variants={name: {} for name in weights},
        claims=[Claim("with auxiliary heads", ">", "main head alone")],
        metric="gradient norm at the first layer",
        limits=(0, float("inf")),
        measure={
            name: partial(first_gradient, auxiliary=weight) for name, weight in weights.items()
        },
        trains=False,
    )
