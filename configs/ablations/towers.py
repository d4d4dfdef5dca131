"""AlexNet in two towers or in one.

Claim: the two towers of half the width, joined in conv3 and the dense layers, are a little better
(1.7 % top-1) than one tower with half the kernels; one full tower is the more costly.
Source: Krizhevsky et al., 2012, §3.2.
Found: does not show. Quick, 3 seeds, test accuracy: two towers 0.913 ± 0.029, one of half the maps
0.914 ± 0.018; one full tower 0.947 ± 0.042, which is 0.034 ± 0.033 better than two.
Ours: thin networks (32 to 96 maps), 300 training examples.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("alexnet"), size=64, examples=300)
    config.model.overrides.update(features=(32, 64, 96, 96, 64), hidden_features=(256, 256))
    config.model.kernel_init = "he_normal"
    config.schedule.learning_rate = 1e-3
    return Ablation(
        base=config,
        variants={
            "two towers": {},
            "one tower": {"model.overrides.towers": 1},
            "one tower, half the maps": {
                "model.overrides.towers": 1,
                "model.overrides.features": (16, 32, 48, 48, 64),
            },
        },
        sizes=[  # the claim compares kernels, which are half as many or twice
            Sizes("macs", ("two towers", "one tower"), least=1.3, most=2),
            Sizes("macs", ("two towers", "one tower, half the maps"), least=0.5, most=0.7),
        ],
        quick=short(200),
    )
