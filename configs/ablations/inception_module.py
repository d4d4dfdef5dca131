"""Reductions in front of the large kernels, and auxiliary heads.

Claim: 1x1 reductions make the module affordable without loss; auxiliary heads regularise (0.5 % in
the paper's reading).
Source: Szegedy et al., "Going Deeper with Convolutions", 2014, figure 2, §5; "Rethinking the
Inception Architecture", 2015, §4.
Found: does not show a difference, as the claim has it of reductions. Quick, 3 seeds, test accuracy:
reduced 0.966 ± 0.038, with auxiliary heads 0.977 ± 0.035, naive 0.978 ± 0.012. A run of the naive
module took three to four times as long (151 s, against 36 to 56 with other work on the cores).
Ours: the network with BN, which trains in so few steps, on 32x32 digits, 300 training examples.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("googlenet_torchvision"), size=32, examples=300)
    config.model.overrides.norm_momentum = 0.9  # statistics that keep up with so few steps
    return Ablation(
        base=config,
        variants={
            "reduced": {},
            "reduced, auxiliary heads": {"model.overrides.aux_heads": True},
            "naive": {"model.overrides.reduced": False},
        },
        sizes=[
            Sizes("macs", ("naive", "reduced"), least=0, most=0.2),
            Sizes("macs", ("reduced", "reduced, auxiliary heads")),  # which are of training alone
        ],
        quick=short(80),
    )
