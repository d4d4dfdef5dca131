"""Label smoothing keeps logits small.

Claim: without it the largest logit grows far beyond the others; label smoothing prevents that.
Source: Szegedy et al., "Rethinking the Inception Architecture", 2015, §7.
Design: ResNet-20 of half the width; the largest logit less the mean one, on test images.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import largest_logit
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", rate=0.1, sgd=True)
    config.model.overrides.width = 8
    amounts = (0, 0.1, 0.3)
    return Ablation(
        base=config,
        variants={f"smoothing {amount:g}": {"loss.label_smoothing": amount} for amount in amounts},
        claims=[
            Claim("smoothing 0.1", "<", "smoothing 0"),
            Claim("smoothing 0.3", "<", "smoothing 0.1"),
        ],
        metric="largest logit above the mean",
        limits=(0, float("inf")),
        measure=largest_logit,
    )
