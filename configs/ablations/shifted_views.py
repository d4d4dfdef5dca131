"""Several crops of a test image.

Claim: the mean prediction over several crops is right more often than that of the central one, and
more crops are better.
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, §7 and table 3 (1, 10 and 144
crops); after Krizhevsky et al., 2012, §4.1 (10).
Design: ResNet-20 of half the width, trained with shifts of up to 2 pixels. Views are shifted by up
to 2 pixels in both directions, by every second pixel (9 views) or by each (25), without mirror
images, which are other characters. All are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.averaging import views
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", epochs=30, rate=0.1, sgd=True)
    config.model.overrides.width = 8
    config.data.pad = 2
    shifts = {"1 view": (0,), "9 views": (-2, 0, 2), "25 views": (-2, -1, 0, 1, 2)}
    return Ablation(
        base=config,
        variants={name: {} for name in shifts},
        claims=[Claim("9 views", "<", "1 view"), Claim("25 views", "<", "9 views")],
        metric="test error",
        limits=(0, 1),
        x="views",
        measure={name: partial(views, shifts=each) for name, each in shifts.items()},
    )
