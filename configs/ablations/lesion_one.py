"""One unit removed after training.

Claim: a residual network hardly notices the loss of one unit, a plain one breaks.
Source: Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", 2016,
figure 3.
Design: the networks of `lesion`; the mean over twelve draws of the unit.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.robustness import lesion
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet32", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(4, 4, 4), width=8)
    return Ablation(
        base=config,
        variants={"residual": {}, "plain": {"model.overrides.shortcut": "none"}},
        claims=[Claim("residual", "<", "plain")],
        metric="test error added without one unit",
        limits=(-1, 1),
        x="units removed",
        measure=partial(lesion, most=1),
    )
