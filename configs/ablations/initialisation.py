"""What weights start from.

Claim: He initialisation trains a deep ReLU network that Glorot's trains more slowly and N(0, 0.01)
not at all; fan-in forms with half the variance let the signal fade.
Source: Glorot and Bengio, 2010; He et al., "Delving Deep into Rectifiers", 2015, §2.2 and figures
2 and 3.
Found: agrees. Quick, 3 seeds, training loss: He 0.42 ± 0.09, Caffe's Xavier 0.92 ± 0.10, Glorot
1.21 ± 0.11; N(0, 0.01), U(±0.05) and torch's uniform stay at 2.303. N(0, 0.1) truncated, 0.26 ±
0.13, is 0.17 ± 0.07 lower than He's.
Ours: thin VGG-E (16 to 64 maps), without dense layers; AdamW.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("vgg19"), size=32)
    config.model.overrides.update(stage_features=(16, 32, 64, 64, 64), pool_size=(1, 1))
    config.model.overrides.update(hidden_features=(), dropout_rate=0.0)
    config.schedule.learning_rate = 3e-4
    return Ablation(
        base=config,
        variants={
            "he_normal": {"model.kernel_init": "he_normal"},
            "glorot_uniform": {"model.kernel_init": "glorot_uniform"},
            "caffe_xavier": {"model.kernel_init": "caffe_xavier"},
            "torch_uniform": {"model.kernel_init": "torch_uniform"},
            "truncated_normal": {"model.kernel_init": "truncated_normal"},
            "uniform": {"model.kernel_init": "uniform"},
            "normal": {"model.kernel_init": "normal"},
        },
        metric="train/loss",
        quick=short(130),
    )
