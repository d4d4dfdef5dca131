"""Units removed after training.

Claim: a plain network breaks when a layer is taken out; a residual one loses little, and one
trained with stochastic depth least.
Source: Veit et al., "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
2016; Huang et al., 2016.
Found: does not show, though the order is the claim's. Quick, 3 seeds, test error without a quarter
of the units: plain 0.90 ± 0.04, which is chance, residual 0.64 ± 0.28, stochastic depth 0.37 ±
0.44.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.ablation.measures import lesion
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_resnet32"))
    config.model.overrides.stage_sizes = (5, 5, 5)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "residual": {},
            "stochastic depth": {
                "model.name": "cifar_resnet110_sd",
                "model.overrides.shortcut": "A",
            },
            "plain": {"model.overrides.shortcut": "none"},
        },
        metric="test error without a quarter of the units",
        limits=(0, 1),
        x="units removed",
        quick={**short(130), "model.overrides.stage_sizes": (4, 4, 4)},
        measure=lesion,
    )
