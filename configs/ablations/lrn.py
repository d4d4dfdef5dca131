"""Response normalisation across maps.

Claim: LRN lowers the error of AlexNet (1.4 % top-1); in VGG it does not help.
Source: Krizhevsky et al., 2012, §3.3; Simonyan and Zisserman, 2014, table 3 (A against A-LRN).
Found: agrees that it does not help in VGG; of AlexNet does not show. Quick, 3 seeds, test accuracy:
VGG A 0.889 ± 0.042, A-LRN 0.861 ± 0.032, which is 0.028 ± 0.014 worse; AlexNet without 0.942 ±
0.038, with 0.920 ± 0.049, difference -0.021 ± 0.056.
Ours: a thin AlexNet (32 to 96 maps) on 64x64 digits, a thin VGG-A (16 to 64 maps) on 32x32; 300
training examples.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("alexnet"), size=64, examples=300)
    config.model.overrides.hidden_features = (4096, 4096)
    config.model.kernel_init = "he_normal"
    config.schedule.learning_rate = 1e-3
    return Ablation(
        base=config,
        variants={
            "AlexNet without": {"model.overrides.lrn": False, **ALEXNET},
            "AlexNet with": {"model.overrides.lrn": True, **ALEXNET},
            "VGG A": {"model.name": "vgg11", **VGG},
            "VGG A-LRN": {"model.name": "vgg11_lrn", **VGG},
        },
        baseline={"AlexNet with": "AlexNet without", "VGG A-LRN": "VGG A"},
        sizes=[
            Sizes(quantity, variants)
            for quantity in ("parameters", "macs")
            for variants in (("AlexNet without", "AlexNet with"), ("VGG A", "VGG A-LRN"))
        ],
        quick=short(200),
    )


ALEXNET = {
    "model.overrides.features": (32, 64, 96, 96, 64),
    "model.overrides.hidden_features": (256, 256),
}
VGG = {
    "data.image_size": 32,
    "data.pad": 2,
    "model.overrides.stage_features": (16, 32, 64, 64, 64),
    "model.overrides.pool_size": (1, 1),
    "model.overrides.hidden_features": (128, 128),
    "model.overrides.dropout_rate": 0.0,  # with it, it hardly trains in so few steps
}
