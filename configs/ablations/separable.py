"""Depthwise separable against full convolutions, and narrower networks.

Claim: the separable network loses about 1 % of accuracy for an eighth of the multiply-adds;
narrower ones lose smoothly; with about equal cost thinner is better than shallower.
Source: Howard et al., "MobileNets", 2017, tables 4 to 6.
Found: agrees about the narrowest, 0.125, which is 0.10 ± 0.06 worse than 0.25; contradicts, at this
length, that thinner is better than shallower: the shallow network, 0.948 ± 0.034, is 0.090 ± 0.048
better than the thin one of 0.19, 0.858 ± 0.025, at equal cost. The rest does not show. Quick, 3
seeds, test accuracy: separable 0.25 0.904 ± 0.11, full 0.975 ± 0.042 (0.07 ± 0.08 better),
separable 0.5 0.948 ± 0.017.
Ours: a quarter of the paper's width as reference, 300 training examples, faster running statistics.
The shallow network, without five layers of 512·α maps, is compared with the thin one of 0.19.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("mobilenet_v1_025"), size=32, examples=300)
    config.model.overrides.norm_momentum = 0.9
    config.schedule.learning_rate = 5e-3
    return Ablation(
        base=config,
        variants={
            "separable, 0.25": {},
            "full, 0.25": {"model.overrides.separable": False},
            "separable, 0.125": {"model.overrides.width_multiplier": 0.125},
            "separable, 0.19": {"model.overrides.width_multiplier": 0.1875},
            "separable, 0.5": {"model.overrides.width_multiplier": 0.5},
            "shallow, 0.25": {"model.overrides.stage_sizes": (1, 2, 2, 1, 2)},
        },
        baseline={
            "full, 0.25": "separable, 0.25",
            "separable, 0.125": "separable, 0.25",
            "separable, 0.19": "separable, 0.25",
            "separable, 0.5": "separable, 0.25",
            "shallow, 0.25": "separable, 0.19",
        },
        sizes=[
            Sizes("macs", ("full, 0.25", "separable, 0.25"), least=1 / 9, most=1 / 7),
            Sizes("macs", ("separable, 0.19", "shallow, 0.25"), least=0.9, most=1.1),
            Sizes("parameters", ("separable, 0.19", "shallow, 0.25"), least=0.9, most=1.1),
        ],
        quick=short(240),
    )
