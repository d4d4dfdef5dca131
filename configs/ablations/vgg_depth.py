"""Deeper networks of 3x3 convolutions.

Claim: the error falls from 11 to 19 layers and saturates there; 3x3 in place of 1x1 (D against C)
is better.
Source: Simonyan and Zisserman, 2014, table 3.
Found: does not show: in so short a run depth only delays. Quick, 3 seeds, test accuracy: A 0.54 ±
0.26, B 0.74 ± 0.20, C 0.66 ± 0.27, D 0.48 ± 0.59, E 0.33 ± 0.22.
Ours: thin networks (16 to 64 maps), 300 training examples; with BN, since D and E do not start
without pre-initialisation.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("vgg11_bn"), size=32, examples=300)
    config.model.overrides.update(stage_features=(16, 32, 64, 64, 64), pool_size=(1, 1))
    config.model.overrides.hidden_features = (128, 128)
    return Ablation(
        base=config,
        variants={
            "A, 11 layers": {"model.name": "vgg11_bn"},
            "B, 13 layers": {"model.name": "vgg13_bn"},
            "C, 16 layers, 1x1": {"model.name": "vgg16_1x1_bn"},
            "D, 16 layers": {"model.name": "vgg16_bn"},
            "E, 19 layers": {"model.name": "vgg19_bn"},
        },
        sizes=[],  # what is compared is depth, at equal widths
        quick=short(130),
    )
