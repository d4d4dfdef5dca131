"""Several networks.

Claim: the mean prediction of several networks is right more often than that of one, and seven are
better than three.
Source: after Szegedy et al., "Going Deeper with Convolutions", 2014, §7 and table 3, whose 1 and 7
networks had the same initial weights.
Design: ResNet-20 of half the width; networks differ in their seed, so in initial weights and order
of images. All are trained on the same 1,440 images and tested on 1,440 others. All are measurements
of the same trainings.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.averaging import networks
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", epochs=10, rate=0.1, sgd=True)
    config.model.overrides.width = 8
    config.data.update(num_examples=1440, labelled=0)
    counts = {"1 network": 1, "3 networks": 3, "7 networks": 7}
    return Ablation(
        base=config,
        variants={name: {} for name in counts},
        claims=[
            Claim("3 networks", "<", "1 network"),
            Claim("7 networks", "<", "3 networks"),
        ],
        metric="test error",
        limits=(0, 1),
        x="networks",
        measure={name: partial(networks, count=count) for name, count in counts.items()},
    )
