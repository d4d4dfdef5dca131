"""Large kernels as several small ones.

Claim: two 3x3 with a ReLU between them do as well as 5x5 for 18/25 of the weights, three as well
as 7x7 for 27/49, and 1xn followed by nx1 as well as nxn for 2/n, where input and output have
equally many maps; a single 3x3 does worse than 5x5.
Source: Simonyan and Zisserman, 2014, §2.3; Szegedy et al., "Rethinking the Inception
Architecture", 2015, §3.
Design: NiN's MNIST network with 48 maps in and out of the large kernels, which are those of stages
2 and 3 (the first stage has 3x3, as 1x3 and 3x1 in the asymmetric ones).
The networks start from He's weights.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("nin_mnist", epochs=60, rate=3e-3)
    config.model.kernel_init = "he_normal"
    config.model.overrides.features = ((48, 32, 48), (48, 32, 48), (48, 48))
    config.model.overrides.kernel_sizes = (3, 5, 5)
    seven = {"model.overrides.kernel_sizes": (3, 7, 7)}
    stacked = {"model.overrides.conv": "stacked_3x3"}
    asymmetric = {"model.overrides.conv": "asymmetric"}
    return Ablation(
        base=config,
        variants={
            "5x5": {},
            "two 3x3": stacked,
            "1x5 and 5x1": asymmetric,
            "7x7": seven,
            "three 3x3": {**seven, **stacked},
            "1x7 and 7x1": {**seven, **asymmetric},
            "3x3": {"model.overrides.kernel_sizes": (3, 3, 3)},
        },
        claims=[
            Claim("two 3x3", ">=", "5x5"),
            Claim("1x5 and 5x1", ">=", "5x5"),
            Claim("three 3x3", ">=", "7x7"),
            Claim("1x7 and 7x1", ">=", "7x7"),
            Claim("3x3", "<", "5x5"),
        ],
        sizes=[  # shares of the claim, and what all have besides
            Sizes("parameters", ("5x5", "two 3x3"), least=18 / 25, most=0.8),
            Sizes("parameters", ("5x5", "1x5 and 5x1"), least=2 / 5, most=0.55),
            Sizes("parameters", ("7x7", "three 3x3"), least=27 / 49, most=0.6),
            Sizes("parameters", ("7x7", "1x7 and 7x1"), least=2 / 7, most=0.4),
        ],
    )
