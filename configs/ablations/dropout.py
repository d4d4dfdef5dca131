"""Dropout in the dense layers.

Claim: without it the network overfits substantially: its test error is higher.
Source: Krizhevsky et al., 2012, §4.2; Srivastava et al., 2014.
Design: VGG-A without its last stage, with 16 to 64 maps and two hidden layers of 512 units,
He's initialisation.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=40)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(512, 512))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    return Ablation(
        base=config,
        variants={
            f"rate {rate:g}": {"model.overrides.dropout_rate": rate}
            for rate in (0, 0.25, 0.5, 0.75)
        },
        claims=[Claim(f"rate {rate:g}", ">", "rate 0") for rate in (0.25, 0.5)],
    )
