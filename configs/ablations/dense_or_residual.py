"""Dense or residual connections with equally many parameters.

Claim: with equally many parameters a DenseNet has a lower error than a ResNet.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, figure 4.
Found: does not show, though the order is the claim's. Quick, 3 seeds, test accuracy with equal
parameters: DenseNet-BC 0.936 ± 0, ResNet of 20 layers 0.897 ± 0.043, of 38 0.69 ± 0.27.
Ours: 0.18 million parameters each. That a DenseNet also needs fewer multiply-adds is not tried: at
this size it has 2.7 times as many.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("densenet_bc_100_12"), examples=300)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "DenseNet-BC, 40 layers, k = 12": {"model.overrides.stage_sizes": (6, 6, 6)},
            "ResNet, 38 layers, pre-activation": {
                "model.name": "cifar_resnet110_v2",
                "model.overrides.stage_sizes": (6, 6, 6),
                "model.overrides.width": 9,
            },
            "ResNet, 20 layers, pre-activation": {
                "model.name": "cifar_resnet110_v2",
                "model.overrides.stage_sizes": (3, 3, 3),
                "model.overrides.width": 13,
            },
        },
        sizes=[Sizes("parameters", most=1.02)],
        quick=short(60),
    )
