"""A little of the label for every class.

Claim: label smoothing 0.1 lowers the error, in the paper by 0.2 %.
Source: Szegedy et al., "Rethinking the Inception Architecture", 2015, §7.
Design: ResNet-20 of half the width.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", epochs=30, rate=0.1, sgd=True)
    config.model.overrides.width = 8
    amounts = (0, 0.1, 0.3)
    return Ablation(
        base=config,
        variants={f"smoothing {amount:g}": {"loss.label_smoothing": amount} for amount in amounts},
        claims=[Claim("smoothing 0.1", ">", "smoothing 0", 0.002)],
    )
