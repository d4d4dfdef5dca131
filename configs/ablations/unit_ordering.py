"""Where batch normalisation and ReLU stand in a residual unit.

Claim: full pre-activation (e) is best; BN after the addition (b) hinders the signal and is worst;
ReLU before the addition (c) is worse than the original (a); ReLU-only pre-activation (d) about
equals it.
Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, table 2.
Design: depth 38 instead of 110 and 164, half the width, trained to the end of its curve.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet110_v2", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(6, 6, 6), width=8)
    return Ablation(
        base=config,
        variants={
            "a original": {"model.overrides.ordering": "original"},
            "b BN after addition": {"model.overrides.ordering": "bn_after_addition"},
            "c ReLU before addition": {"model.overrides.ordering": "relu_before_addition"},
            "d ReLU-only pre-activation": {"model.overrides.ordering": "relu_only_preactivation"},
            "e full pre-activation": {"model.overrides.ordering": "full_preactivation"},
        },
        claims=[
            Claim("e full pre-activation", ">", "a original"),
            Claim("b BN after addition", "<", "a original"),
            Claim("c ReLU before addition", "<", "a original"),
            Claim("d ReLU-only pre-activation", "~", "a original"),
        ],
    )
