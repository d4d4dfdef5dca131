"""How much a dense layer must add, and what bottlenecks and compression cost.

Claim: a larger growth rate k is better; bottlenecks (B) and compression (C) need fewer parameters
for the same error.
Source: Huang et al., "Densely Connected Convolutional Networks", 2016, table 2 and §5.
Found: agrees. Quick, 3 seeds, test accuracy: k = 4 0.79 ± 0.10, 12 0.938 ± 0.047, 24 0.959 ± 0.004;
12 is 0.15 ± 0.06 better than 4. With k = 12, B 0.943 ± 0.017, C 0.922 ± 0.018 and BC 0.919 ± 0.055
differ from the plain block by less than the interval.
Ours: three blocks of six layers, 300 training examples.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.densenet("densenet_40_12"), examples=300)
    config.model.overrides.update(stage_sizes=(6, 6, 6), growth_rate=12)
    config.optimizer.update(name="sgd", weight_decay=1e-4)
    config.schedule.update(name="cosine", learning_rate=0.1)
    return Ablation(
        base=config,
        variants={
            "k = 12": {},
            "k = 4": {"model.overrides.growth_rate": 4},
            "k = 24": {"model.overrides.growth_rate": 24},
            "B, k = 12": {"model.overrides.bottleneck": True},
            "C, k = 12": {"model.overrides.compression": 0.5},
            "BC, k = 12": {"model.overrides.bottleneck": True, "model.overrides.compression": 0.5},
        },
        sizes=[  # fewer parameters; with B there are more multiply-adds
            Sizes("parameters", ("k = 12", variant), least=0.5, most=0.9)
            for variant in ("B, k = 12", "C, k = 12", "BC, k = 12")
        ],
        quick=short(60),
    )
