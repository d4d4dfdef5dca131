"""Deeper residual networks change less in each unit.

Claim: the responses of residual units are smaller in deeper networks.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §4.2 and figure 7.
Design: half the width; the root mean square of F(x), which ends with batch normalisation, on the
test images, geometric mean over the units.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import branch_sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", rate=0.1, sgd=True)
    config.model.overrides.width = 8
    units = {"14 layers": 2, "20 layers": 3, "38 layers": 6}
    return Ablation(
        base=config,
        variants={
            name: {"model.overrides.stage_sizes": (count,) * 3} for name, count in units.items()
        },
        claims=[Claim("20 layers", "<", "14 layers"), Claim("38 layers", "<", "20 layers")],
        metric="size of F(x)",
        limits=(0, float("inf")),
        x="unit",
        measure=branch_sizes,
        sizes=[],
    )
