"""Units in another order.

Claim: a residual network loses less than one without shortcuts when its units change places after
training.
Source: after Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
2016, §4.3, who reorder residual networks alone.
Design: the networks of `lesion_one`. Four pairs of units with equal shapes change places, one after
another, in twelve random ways. What is compared is the test error that this adds.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.robustness import permutation
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet32", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(4, 4, 4), width=8)
    return Ablation(
        base=config,
        variants={"residual": {}, "plain": {"model.overrides.shortcut": "none"}},
        claims=[Claim("residual", "<", "plain")],
        metric="test error added by four exchanges of units",
        limits=(-1, 1),
        x="pairs of units exchanged",
        measure=permutation,
    )
