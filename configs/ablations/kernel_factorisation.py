"""Large kernels as several small ones.

Claim: two 3x3 with a ReLU between them do as well as 5x5 for 18/25 of the weights, three as well
as 7x7 for 27/49, and 1xn followed by nx1 as well as nxn for 2/n, where input and output have
equally many maps.
Source: Simonyan and Zisserman, 2014, §2.3; Szegedy et al., "Rethinking the Inception
Architecture", 2015, §3.
Found: does not show that two 3x3 or the asymmetric pairs do worse, and contradicts the claim of
three 3x3, by a little. Quick, 3 seeds, test accuracy: 5x5 0.86 ± 0.11, two 3x3 0.82 ± 0.20 (0.74
times the parameters of the whole network, 0.78 times the multiply-adds), 1x5 and 5x1 0.78 ± 0.17
(0.50 and 0.81 times); 7x7 0.931 ± 0.036, three 3x3 0.890 ± 0.035 (0.57 and 0.60 times), which is
0.041 ± 0.014 worse, 1x7 and 7x1 0.876 ± 0.086 (0.34 and 0.53 times). A single 3x3 is 0.197 ± 0.097
worse than 5x5.
Ours: NiN's MNIST network with 48 maps in and out of the large kernels, which are those of stages 2
and 3 (the first stage has 3x3, as 1x3 and 3x1 in the asymmetric ones); 300 training examples, He
initialisation for all.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("nin_mnist"), size=28, examples=300)
    config.model.overrides.features = ((48, 32, 48), (48, 32, 48), (48, 48))
    config.model.overrides.kernel_sizes = (3, 5, 5)
    config.model.kernel_init = "he_normal"
    return Ablation(
        base=config,
        variants={
            "5x5": {},
            "two 3x3": {"model.overrides.conv": "stacked_3x3"},
            "1x5 and 5x1": {"model.overrides.conv": "asymmetric"},
            "7x7": {"model.overrides.kernel_sizes": (3, 7, 7)},
            "three 3x3": {
                "model.overrides.kernel_sizes": (3, 7, 7),
                "model.overrides.conv": "stacked_3x3",
            },
            "1x7 and 7x1": {
                "model.overrides.kernel_sizes": (3, 7, 7),
                "model.overrides.conv": "asymmetric",
            },
            "3x3": {"model.overrides.kernel_sizes": (3, 3, 3)},
        },
        baseline={
            "two 3x3": "5x5",
            "1x5 and 5x1": "5x5",
            "3x3": "5x5",
            "three 3x3": "7x7",
            "1x7 and 7x1": "7x7",
        },
        sizes=[  # shares of the claim, and what all have besides
            Sizes("parameters", ("5x5", "two 3x3"), least=18 / 25, most=0.8),
            Sizes("parameters", ("5x5", "1x5 and 5x1"), least=2 / 5, most=0.55),
            Sizes("parameters", ("7x7", "three 3x3"), least=27 / 49, most=0.6),
            Sizes("parameters", ("7x7", "1x7 and 7x1"), least=2 / 7, most=0.4),
        ],
        quick=short(130),
    )
