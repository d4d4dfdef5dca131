"""Batch normalisation makes up for bad initial weights.

Claim: without batch normalisation N(0, 0.01) does not train a deep network and He's weights do;
with it both do, and the scale of the weights does not matter.
Source: Ioffe and Szegedy, "Batch Normalization", 2015, §3.3.
Design: VGG-E without its last pool, with 16 to 64 maps and without hidden dense layers. AdamW,
whose steps do not depend on the scale of the gradient either.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg19", rate=1e-3)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(2, 2, 4, 8))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    return Ablation(
        base=config,
        variants={
            f"{words}, {name}": {"model.overrides.norm": norm, "model.kernel_init": init}
            for words, norm in (("without", "none"), ("with", "batch_norm"))
            for name, init in (("He", "he_normal"), ("N(0, 0.01)", "normal"))
        },
        claims=[
            Claim("without, N(0, 0.01)", ">", "without, He"),
            Claim("with, N(0, 0.01)", "<", "without, N(0, 0.01)"),
            Claim("with, N(0, 0.01)", "~", "with, He"),
        ],
        metric="train/loss",
    )
