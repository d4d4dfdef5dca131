"""Answers before the last layer.

Claim: the classifiers on the hidden layers of a deeply supervised network are right more often from
stage to stage.
Source: ours, after Lee et al., "Deeply-Supervised Nets", 2014, §1, which wants hidden layers that
tell the classes apart.
Design: the network of `deep_supervision`, with companions to the end of training. All are
measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.ablation.measures import exit_accuracy
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("dsn_cifar10", epochs=30, rate=1e-3)
    config.model.overrides.features = ((48, 40, 24), (48, 48, 48), (48, 48))
    config.model.overrides.aux_heads = True
    config.loss.aux_decay = "none"
    heads = {"stage 1": "aux1", "stage 2": "aux2", "stage 3": "aux3", "output": ""}
    return Ablation(
        base=config,
        variants={name: {} for name in heads},
        claims=[
            Claim("stage 2", ">", "stage 1"),
            Claim("stage 3", ">", "stage 2"),
            Claim("output", ">=", "stage 3"),
        ],
        metric="test accuracy of a classifier",
        limits=(0, 1),
        measure={name: partial(exit_accuracy, head=head) for name, head in heads.items()},
        sizes=[Sizes("macs")],
    )
