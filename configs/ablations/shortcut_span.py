"""How many layers a shortcut spans.

Claim: a shortcut over a single layer has no advantage over a plain network; over two or more it
has.
Source: He et al., "Deep Residual Learning for Image Recognition", 2015, §3.2.
Found: agrees about two layers, not about one. Quick, 3 seeds, training loss: two layers 0.19 ±
0.11, three 0.21 ± 0.19, one 0.39 ± 0.42, plain 1.60 ± 0.71. With batch normalisation a shortcut
over a single layer helps, too.
Ours: depth 38, ordering of the original unit.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_resnet110_v2"))
    config.model.overrides.update(ordering="original", shortcut="A", stage_sizes=(6, 6, 6), width=8)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "two layers": {},
            "one layer": {"model.overrides.shortcut_span": 1},
            "three layers": {"model.overrides.shortcut_span": 3},
            "plain": {"model.overrides.shortcut": "none"},
        },
        metric="train/loss",
        quick=short(100),
    )
