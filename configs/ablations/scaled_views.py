"""Test images at several sizes.

Claim: the mean prediction over an image at several sizes is right more often than that at one.
Source: Simonyan and Zisserman, 2014, §4.2 and table 4 (scales at test time).
Design: VGG-A's first three stages with batch normalisation and without dense layers, which take any
size; 16 to 64 maps. Images of 16 pixels are also seen at 14 and 18. Both are measurements of the
same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.averaging import views
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=30)
    config.model.overrides.update(stage_features=(16, 32, 64), stage_sizes=(1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=())
    sides = {"one size": (), "three sizes": (14, 16, 18)}
    return Ablation(
        base=config,
        variants={name: {} for name in sides},
        claims=[Claim("three sizes", "<", "one size")],
        metric="test error",
        limits=(0, 1),
        x="sizes",
        measure={name: partial(views, sides=given) for name, given in sides.items()},
    )
