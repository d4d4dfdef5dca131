"""Batch normalisation allows large learning rates.

Claim: with BN the network trains faster and at rates at which it diverges or stands still without.
Source: Ioffe and Szegedy, "Batch Normalization", 2015, §4.2 and figure 2.
Found: agrees. Quick, 3 seeds, training loss: at rate 0.03 0.028 ± 0.024 with BN and 0.27 ± 0.26
without, difference 0.24 ± 0.23; at 0.3 0.031 ± 0.043 with, not finite without. At 3 neither trains
(2.31 ± 0.02 with, not finite without), at 0.003 both are slow (1.11 ± 0.15, 1.36 ± 1.6).
Ours: thin VGG-A (16 to 64 maps, He initialisation) on digits instead of Inception on ImageNet. A
run whose loss is not finite goes on without moving.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("vgg11"), size=32)
    config.model.overrides.update(stage_features=(16, 32, 64, 64, 64), pool_size=(1, 1))
    config.model.overrides.update(hidden_features=(), dropout_rate=0.0)
    config.model.kernel_init = "he_normal"
    config.optimizer.update(name="sgd", weight_decay=5e-4)
    config.schedule.name = "cosine"
    config.train.max_skipped = 10000  # a diverged run goes on without moving
    return Ablation(
        base=config,
        variants={
            "without, rate 0.003": {
                "model.overrides.norm": "none",
                "schedule.learning_rate": 0.003,
            },
            "without, rate 0.03": {
                "model.overrides.norm": "none",
                "schedule.learning_rate": 0.03,
            },
            "without, rate 0.3": {
                "model.overrides.norm": "none",
                "schedule.learning_rate": 0.3,
            },
            "without, rate 3": {"model.overrides.norm": "none", "schedule.learning_rate": 3.0},
            "with, rate 0.003": {
                "model.overrides.norm": "batch_norm",
                "schedule.learning_rate": 0.003,
            },
            "with, rate 0.03": {
                "model.overrides.norm": "batch_norm",
                "schedule.learning_rate": 0.03,
            },
            "with, rate 0.3": {"model.overrides.norm": "batch_norm", "schedule.learning_rate": 0.3},
            "with, rate 3": {"model.overrides.norm": "batch_norm", "schedule.learning_rate": 3.0},
        },
        baseline={
            f"with, rate {rate}": f"without, rate {rate}" for rate in ("0.003", "0.03", "0.3", "3")
        },
        metric="train/loss",
        quick=short(130),
    )
