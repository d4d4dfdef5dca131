"""Easy images need fewer layers.

Claim: an answer after the first stage costs less accuracy on images of which the whole network is
sure than on the others.
Source: ours, after Lee et al., "Deeply-Supervised Nets", 2014, whose companions could answer early.
Design: the network of `exits`. The test images are halved by the largest probability of the
output, without their labels. Both are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.ablation.measures import lost_by_exit
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("dsn_cifar10", epochs=30, rate=1e-3)
    config.model.overrides.features = ((48, 40, 24), (48, 48, 48), (48, 48))
    config.model.overrides.aux_heads = True
    config.loss.aux_decay = "none"
    halves = {"sure half": True, "other half": False}
    return Ablation(
        base=config,
        variants={name: {} for name in halves},
        claims=[Claim("sure half", "<", "other half")],
        metric="test accuracy lost by leaving after stage 1",
        larger_is_better=False,
        limits=(-1, 1),
        measure={
            name: partial(lost_by_exit, head="aux1", easy=easy) for name, easy in halves.items()
        },
        sizes=[Sizes("macs")],
    )
