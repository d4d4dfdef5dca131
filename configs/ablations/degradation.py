"""Deeper plain networks train worse, deeper residual networks do not.

Claim: plain-56 has a higher training error than plain-20, and residual-56 has not, with equal
parameters. It is a matter of optimisation, not of overfitting, so the training loss is compared.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §4.2, figure 6.
Found: agrees. Quick, 3 seeds: training loss of plain-56 1.82 ± 0.47, of residual-56 0.097 ± 0.045,
difference 1.72 ± 0.50; plain-20 0.33 ± 0.18, residual-20 0.075 ± 0.059.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_plain20"))
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
        baseline={"plain-20": "residual-20", "plain-56": "residual-56"},
        sizes=[
            Sizes(quantity, (f"residual-{depth}", f"plain-{depth}"))
            for quantity in ("parameters", "macs")
            for depth in (20, 56)
        ],
        metric="train/loss",
        quick={**short(130), "model.overrides.width": 8},
    )
