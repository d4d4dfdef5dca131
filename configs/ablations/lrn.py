"""Response normalisation across maps.

Claim: LRN lowers the error of AlexNet (1.4 % top-1); in VGG it does not help and costs memory and
time.
Source: Krizhevsky et al., 2012, §3.3; Simonyan and Zisserman, 2014, table 3 (A against A-LRN).
Found: does not show. Quick, 3 seeds, test accuracy: without 0.944 ± 0.044, with 0.913 ± 0.029,
difference -0.031 ± 0.045.
Ours: a thin AlexNet (32 to 96 maps), 300 training examples; VGG-A and A-LRN are networks of the
registry.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.alexnet("alexnet"), size=64, examples=300)
    config.model.overrides.update(features=(32, 64, 96, 96, 64), hidden_features=(256, 256))
    config.model.kernel_init = "he_normal"
    config.schedule.learning_rate = 1e-3
    return Ablation(
        base=config,
        variants={
            "AlexNet without": {"model.overrides.lrn": False},
            "AlexNet with": {"model.overrides.lrn": True},
        },
        quick=short(200),
    )
