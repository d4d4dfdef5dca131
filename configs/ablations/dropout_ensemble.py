"""Dropout as an ensemble.

Claim: at test time the network with scaled weights does as well as the mean over many of the
networks that dropout leaves, and better than a single one.
Source: Hinton et al., "Improving Neural Networks by Preventing Co-Adaptation of Feature
Detectors", 2012; Krizhevsky et al., 2012, §4.2.
Design: the network of `dropout` at rate 0.5, trained in the same way for all three measurements.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.averaging import sub_networks
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=40)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(512, 512), dropout_rate=0.5)
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    counts = {"scaled network": 0, "one network": 1, "mean of 30 networks": 30}
    return Ablation(
        base=config,
        variants={name: {} for name in counts},
        claims=[
            Claim("scaled network", "~", "mean of 30 networks"),
            Claim("scaled network", "<", "one network"),
        ],
        metric="test error",
        limits=(0, 1),
        x="networks",
        measure={name: partial(sub_networks, count=count) for name, count in counts.items()},
    )
