"""Shortcuts where the shape changes: zero channels, a projection, or projections everywhere.

Claim: all options are far better than none; B is slightly better than A, C slightly better than B,
which is not needed against degradation.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, table 3.
Found: agrees about none, 0.62 ± 0.35 of the test images right, and contradicts the order of the
others at this length: A 0.961 ± 0.018, B 0.948 ± 0.028 (within the interval), C 0.844 ± 0.11, which
is 0.12 ± 0.11 worse than A. Quick, 3 seeds.
Ours: ResNet-32 on 300 digits instead of ResNet-34 on ImageNet. Projections add up to 6 % of
parameters and multiply-adds, which the claim does not hold equal.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_resnet32"), examples=300)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "A": {"model.overrides.shortcut": "A"},
            "B": {"model.overrides.shortcut": "B"},
            "C": {"model.overrides.shortcut": "C"},
            "none": {"model.overrides.shortcut": "none"},
        },
        sizes=[Sizes("parameters", most=1.06), Sizes("macs", most=1.06)],
        quick={**short(100), "model.overrides.width": 8},
    )
