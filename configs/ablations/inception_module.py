"""Reductions in front of the large kernels, and auxiliary heads.

Claim: 1x1 reductions make the module affordable without loss; auxiliary heads bring gradient to
the lower layers and regularise (0.5 % in the paper's reading).
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, figure 2, §5; "Rethinking the
Inception Architecture", 2015, §4.
Found: not yet run.
Ours: on 79x79 digits, the smallest that the auxiliary heads can see, 300 training examples.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.googlenet("googlenet"), size=79, examples=300)
    config.data.pad = 2
    config.schedule.learning_rate = 1e-3
    return Ablation(
        base=config,
        variants={
            "reduced": {},
            "reduced, auxiliary heads": {"model.overrides.aux_heads": True},
            "naive": {"model.overrides.reduced": False},
        },
        quick={**short(40), "train.batch_size": 32},
    )
