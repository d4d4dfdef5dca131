"""Dropout takes time to converge.

Claim: with dropout the training takes longer to converge, with rate 0.5 about twice as long in the
paper.
Source: Krizhevsky et al., 2012, §4.2.
Design: the network of `dropout`; epochs until 60 % of the test images are right.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import epochs_to
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=40)
    config.eval.every = "1epochs"
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(512, 512))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    return Ablation(
        base=config,
        variants={
            f"rate {rate:g}": {"model.overrides.dropout_rate": rate} for rate in (0, 0.25, 0.5)
        },
        claims=[Claim("rate 0.25", ">", "rate 0"), Claim("rate 0.5", ">", "rate 0")],
        metric="epochs to 60 % of the test images",
        limits=(0, float("inf")),
        measure=partial(epochs_to, accuracy=0.6),
    )
