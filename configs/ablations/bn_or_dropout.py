"""Batch normalisation in place of dropout.

Claim: batch normalisation regularises, so that dropout can be left out.
Source: Ioffe and Szegedy, "Batch Normalization", 2015, §3.4.
Design: VGG-A without its last stage, with 16 to 64 maps and two hidden layers of 256 units,
He's initialisation.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=40)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(256, 256))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    return Ablation(
        base=config,
        variants={
            f"{words}, {drop}": {
                "model.overrides.norm": norm,
                "model.overrides.dropout_rate": rate,
            }
            for words, norm in (("plain", "none"), ("BN", "batch_norm"))
            for drop, rate in (("no dropout", 0.0), ("dropout 0.5", 0.5))
        },
        claims=[
            Claim("BN, no dropout", ">", "plain, no dropout"),
            Claim("BN, no dropout", ">=", "BN, dropout 0.5"),
            Claim("BN, no dropout", ">=", "plain, dropout 0.5"),
        ],
    )
