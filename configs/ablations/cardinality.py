"""Paths instead of width, with equally many parameters.

Claim: more and narrower paths are better than few wide ones with equally many parameters.
Source: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2016, table 3.
Design: CIFAR's form of 14 layers and a quarter of the width, trained to the end of its curve.
Parameters are equal within 2 %; with 16 paths there are 11 % more multiply-adds.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("resnext29_8x64d", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(1, 2, 1), width=16)

    def paths(count, width):
        return {"model.overrides.cardinality": count, "model.overrides.base_width": width}

    return Ablation(
        base=config,
        variants={"1x64d": paths(1, 64), "2x40d": paths(2, 40), "16x8d": paths(16, 8)},
        claims=[
            Claim("2x40d", ">", "1x64d"),
            Claim("16x8d", ">", "1x64d"),
            Claim("16x8d", ">", "2x40d"),
        ],
        sizes=[Sizes("parameters", least=0.98), Sizes("macs", least=1.0, most=1.11)],
    )
