"""What pooling does against shifts.

Claim: global average pooling is more robust to a shift of the object than dense layers, which see
each position by weights of its own.
Source: Lin et al., "Network In Network", 2013, §3.2.
Design: the networks of `head`, trained without shifts. Test images are shifted by 3 of 16 pixels to
each of the four sides. Dense layers see 2x2 means of the last 4x4 maps.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.ablation.robustness import shifts
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=60)
    config.data.pad = 0
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
            Claim("global average pooling", "<", "dense"),
            Claim("global average pooling", "<", "dense, dropout 0.5"),
        ],
        metric="test accuracy lost by a shift of 3 pixels",
        larger_is_better=False,
        limits=(-1, 1),
        x="pixels shifted",
        measure=shifts,
        sizes=[
            Sizes("parameters", ("dense", "global average pooling"), most=0.4, least=0),
            Sizes("parameters", ("dense", "dense, dropout 0.5")),
        ],
    )
