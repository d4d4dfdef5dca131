"""Global average pooling against dense layers.

Claim: averaging each map in front of the classifier overfits less than dense layers, which need
dropout, and has a fraction of the parameters.
Source: Lin et al., "Network In Network", 2013, table 5.
Design: VGG-A with batch normalisation and He's initialisation, without its last two stages, with 16
to 64 maps, and 4x4 of them in front of the head.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=60)
    config.model.overrides.update(stage_features=(16, 32, 64), stage_sizes=(1, 2, 2))
    config.model.overrides.update(hidden_features=(), pool_size=(1, 1))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    dense = {"model.overrides.pool_size": (2, 2), "model.overrides.hidden_features": (256, 256)}
    return Ablation(
        base=config,
        variants={
            "global average pooling": {},
            "dense": {**dense, "model.overrides.dropout_rate": 0.0},
            "dense, dropout 0.5": {**dense, "model.overrides.dropout_rate": 0.5},
        },
        claims=[
            Claim("global average pooling", ">", "dense"),
            Claim("dense, dropout 0.5", ">", "dense"),
            Claim("global average pooling", ">=", "dense, dropout 0.5"),
        ],
        sizes=[
            Sizes("parameters", ("dense", "global average pooling"), most=0.4, least=0),
            Sizes("parameters", ("dense", "dense, dropout 0.5")),
        ],
    )
