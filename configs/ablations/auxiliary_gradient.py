"""What auxiliary heads teach the low layers.

Claim: auxiliary classifiers increase the gradient that reaches the low layers.
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, §5.
Design: GoogLeNet without batch normalisation before training; the gradient of each head's own loss
with respect to the kernel of the first convolution, without the weight of 0.3 that training gives
to auxiliary heads.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import head_gradient
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("googlenet", size=80)
    config.model.overrides.aux_heads = True
    heads = {"main head": "logits", "first auxiliary head": "aux1", "second": "aux2"}
    return Ablation(
        base=config,
        variants={name: {} for name in heads},
        claims=[
            Claim("first auxiliary head", ">", "main head"),
            Claim("second", ">", "main head"),
        ],
        metric="gradient norm at the first layer",
        limits=(0, float("inf")),
        x="head",
        measure={name: partial(head_gradient, head=head) for name, head in heads.items()},
        trains=False,
    )
