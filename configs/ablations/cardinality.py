"""Paths instead of width, at equal cost.

Claim: with parameters and multiply-adds about equal, more and narrower paths are better: 32x4d
before 8x14d, 4x24d, 2x40d and 1x64d.
Source: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2016, table 3.
Found: does not show. Quick, 3 seeds, test accuracy: 1x64d 0.965 ± 0.031, 2x40d 0.962 ± 0.014, 4x24d
0.961 ± 0.035, 8x14d 0.963 ± 0.017, 32x4d 0.958 ± 0.059: equal.
Ours: CIFAR's form with half the width (floor(w/2) maps in each path of stage 1), 20 layers, 300
digits. At these sizes the widths of the paper's table leave up to 8 % between the parameters of two
variants, and 7 % between their multiply-adds (4 % and 5 % without --quick).
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("resnext29_8x64d"), examples=300)
    config.model.overrides.update(stage_sizes=(2, 2, 2), width=32)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "1x64d": {"model.overrides.cardinality": 1, "model.overrides.base_width": 64},
            "2x40d": {"model.overrides.cardinality": 2, "model.overrides.base_width": 40},
            "4x24d": {"model.overrides.cardinality": 4, "model.overrides.base_width": 24},
            "8x14d": {"model.overrides.cardinality": 8, "model.overrides.base_width": 14},
            "32x4d": {"model.overrides.cardinality": 32, "model.overrides.base_width": 4},
        },
        sizes=[Sizes("parameters", least=0.91, most=1.0), Sizes("macs", least=1.0, most=1.08)],
        quick={**short(100), "model.overrides.stage_sizes": (1, 1, 1)},
    )
