"""Wide and shallow, or thin and deep, with about equal parameters.

Claim: a wide network of 16 layers does as well as a thin one of many more, and trains much faster.
Source: Zagoruyko and Komodakis, "Wide Residual Networks", 2016, table 4.
Found: agrees that width does as well. Quick, 3 seeds, test accuracy: WRN-10-3 0.981 ± 0.018,
WRN-16-2 0.977 ± 0.004, WRN-28-1.375 0.972 ± 0.025, WRN-40-1.125 0.948 ± 0.034. On a machine with
other work a run of the last two took about 30 s, of the first two 22.
Ours: 0.7 million parameters each, 300 training examples.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("wrn_16_8"), examples=300)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "WRN-16-2": {"model.overrides.stage_sizes": (2, 2, 2), "model.overrides.width": 32},
            "WRN-28-1.375": {"model.overrides.stage_sizes": (4, 4, 4), "model.overrides.width": 22},
            "WRN-40-1.125": {"model.overrides.stage_sizes": (6, 6, 6), "model.overrides.width": 18},
            "WRN-10-3": {"model.overrides.stage_sizes": (1, 1, 1), "model.overrides.width": 48},
        },
        sizes=[
            Sizes("parameters", least=0.95, most=1.05),
            Sizes("macs", least=0.94, most=1.05),
        ],
        quick=short(80),
    )
