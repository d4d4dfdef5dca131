"""Deeper plain networks train worse, deeper residual networks do not.

Claim: plain-56 has a higher training error than plain-20, and residual-56 has not, with equal
parameters. It is a matter of optimisation, not of overfitting, so the training loss is compared.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §4.2, figure 6.
Found: not yet run.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.resnet("cifar_plain20"))
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "plain-20": {"model.name": "cifar_plain20"},
            "plain-56": {"model.name": "cifar_plain56"},
            "residual-20": {"model.name": "cifar_resnet20"},
            "residual-56": {"model.name": "cifar_resnet56"},
        },
        baseline="residual-56",
        metric="train/loss",
        quick={**short(130), "model.overrides.width": 8},
    )
