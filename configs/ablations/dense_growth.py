"""How much a dense layer must add, and what bottlenecks and compression cost.

Claim: a larger growth rate k is better; bottlenecks (B) and compression (C) need fewer parameters
for the same error.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, table 2 and §5.
Found: agrees but for k = 24. Quick, 3 seeds, test accuracy: k = 4 0.851 ± 0.033, 12 0.947 ± 0.021,
24 0.965 ± 0.052; 4 is 0.096 ± 0.050 worse than 12, and that 24 is better than 12 does not show
(0.018 ± 0.046). With k = 12, B has 0.88 times the parameters and 1.13 times the multiply-adds of
the plain block and the same accuracy (0.946 ± 0.021, difference -0.0009 ± 0.0040); C, with 0.55
times the parameters, 0.957 ± 0.031 and BC, with 0.63 times, 0.922 ± 0.037 differ from it by less
than the interval.
Ours: three blocks of six layers, 300 training examples.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("densenet_40_12"), examples=300)
    config.model.overrides.update(stage_sizes=(6, 6, 6), growth_rate=12)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "k = 12": {},
            "k = 4": {"model.overrides.growth_rate": 4},
            "k = 24": {"model.overrides.growth_rate": 24},
            "B, k = 12": {"model.overrides.bottleneck": True},
            "C, k = 12": {"model.overrides.compression": 0.5},
            "BC, k = 12": {"model.overrides.bottleneck": True, "model.overrides.compression": 0.5},
        },
        sizes=[  # fewer parameters; with B there are more multiply-adds
            Sizes("parameters", ("k = 12", variant), least=0.5, most=0.9)
            for variant in ("B, k = 12", "C, k = 12", "BC, k = 12")
        ],
        quick=short(60),
    )
