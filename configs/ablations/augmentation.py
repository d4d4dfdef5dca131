"""More views of the same images.

Claim: shifted crops reduce overfitting; a change that is no symmetry of the classes, such as a
mirrored digit, does harm.
Source: Krizhevsky et al., 2012, §4.1; He et al., 2015, §4.2 (padded crops and flips of CIFAR).
Found: not yet run.
Ours: ResNet-20 on 16x16 digits, 200 training examples.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.resnet("cifar_resnet20"), examples=200)
    return Ablation(
        base=config,
        variants={
            "none": {"data.pad": 0},
            "shifts of 1 pixel": {"data.pad": 1},
            "shifts of 2 pixels": {"data.pad": 2},
            "shifts of 4 pixels": {"data.pad": 4},
            "flips": {"data.pad": 0, "data.flip": True},
        },
        quick=short(150),
    )
