"""Dense or residual connections with equally many parameters.

Claim: with equally many parameters a DenseNet has a lower error than a ResNet.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, figure 4.
Design: 0.1 million parameters each. That a DenseNet also needs fewer multiply-adds is not tried:
at this size it has 2.7 times as many.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("densenet_bc_100_12", epochs=30, rate=0.1, sgd=True)
    return Ablation(
        base=config,
        variants={
            "DenseNet-BC, 28 layers, k = 12": {"model.overrides.stage_sizes": (4, 4, 4)},
            "ResNet, 20 layers, pre-activation": {
                "model.name": "cifar_resnet110_v2",
                "model.overrides.stage_sizes": (3, 3, 3),
                "model.overrides.width": 10,
            },
        },
        claims=[Claim("DenseNet-BC, 28 layers, k = 12", ">", "ResNet, 20 layers, pre-activation")],
        sizes=[Sizes("parameters", most=1.02)],
    )
