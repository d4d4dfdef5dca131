"""Where batch normalisation and ReLU stand in a residual unit.

Claim: full pre-activation (e) is best; BN after the addition (b) hinders the signal and is worst;
ReLU before the addition (c) is worse than the original (a); ReLU-only pre-activation (d) about
equals it.
Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, table 2.
Found: agrees that (b) and (c) hinder: quick, 3 seeds, test accuracy (a) 0.956 ± 0.038, (b) 0.64 ±
0.21, (c) 0.36 ± 0.38, (d) 0.969 ± 0.021, (e) 0.939 ± 0.018. That (e) is best does not show at 38
layers.
Ours: depth 56 instead of 110 and 164, 300 training examples.
"""

from jaxcnn.ablation import Ablation
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("cifar_resnet110_v2"), examples=300)
    config.model.overrides.update(stage_sizes=(9, 9, 9), width=8)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "a original": {"model.overrides.ordering": "original"},
            "b BN after addition": {"model.overrides.ordering": "bn_after_addition"},
            "c ReLU before addition": {"model.overrides.ordering": "relu_before_addition"},
            "d ReLU-only pre-activation": {"model.overrides.ordering": "relu_only_preactivation"},
            "e full pre-activation": {"model.overrides.ordering": "full_preactivation"},
        },
        quick={**short(100), "model.overrides.stage_sizes": (6, 6, 6)},
    )
