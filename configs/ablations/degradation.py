"""Deeper plain networks train worse, deeper residual networks do not.

Claim: plain-56 has a higher training error than plain-20, and residual-56 does not; with equal
parameters. It is a matter of optimisation, not of overfitting, so the training loss is compared.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §4.2, figure 6.
Found: not yet run.
Ours: a third as many steps as digits allow in a minute, SGD as in the paper, 16x16 images.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation


def get_ablation():
    config = papers.resnet("cifar_plain20", "digits")
    config.data.update(image_size=16, pad=1)
    config.train.length = "40epochs"
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1, warmup="2epochs")
    config.log.every = "1epochs"
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
        quick={"train.length": "6epochs", "model.overrides.width": 8},
    )
