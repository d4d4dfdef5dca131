"""Batch normalisation allows large learning rates.

Claim: with BN the network trains faster, and at rates at which it diverges or stands still
without.
Source: Ioffe and Szegedy, "Batch Normalization", 2015, §4.2 and figure 2.
Design: VGG-A without its last stage and with 16 to 64 maps, He's initial weights, SGD. Rates from
the largest at which the network without BN still trains well, and 10 and 100 times as large.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", rate=0.01, sgd=True)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    config.model.kernel_init = "he_normal"
    rates = (0.01, 0.1, 1.0)
    return Ablation(
        base=config,
        variants={
            f"{words}, rate {rate:g}": {
                "model.overrides.norm": norm,
                "schedule.learning_rate": rate,
            }
            for words, norm in (("without", "none"), ("with", "batch_norm"))
            for rate in rates
        },
        claims=[
            *(Claim(f"with, rate {rate:g}", "<", f"without, rate {rate:g}") for rate in rates),
            Claim("with, rate 0.1", "<", "without, rate 0.01"),
        ],
        metric="train/loss",
    )
