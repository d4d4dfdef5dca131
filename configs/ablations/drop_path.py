"""Drop-path in FractalNet.

Claim: drop-path lowers the error; the deepest column alone does nearly as well as all of them.
Source: Larsson et al., "FractalNet", 2016, table 1 and §4.2.
Found: does not show, and in so short a run global drop-path costs 0.010 ± 0.004. Quick, 3 seeds,
test accuracy: none 0.990 ± 0.008, local 0.988 ± 0.014, half and half 0.978 ± 0.018, of which the
deepest column alone 0.967 ± 0.025; global, deepest column 0.980 ± 0.011.
Ours: three columns, three blocks of 16, 32 and 64 maps, 300 training examples, shifted by up to
a pixel, where the paper gains most without augmentation; no dropout. A network trained
with global drop-path alone has statistics for single columns only, so its deepest is tested.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("fractalnet_narrow_c3"), size=16, examples=300)
    config.model.overrides.update(stage_features=(16, 32, 64), dropout_rates=(0.0, 0.0, 0.0))
    return Ablation(
        base=config,
        variants={
            "none": {
                "model.overrides.drop_path_rate": 0.0,
                "model.overrides.global_drop_path_share": 0.0,
            },
            "local": {"model.overrides.global_drop_path_share": 0.0},
            "half and half": {},
            "half and half, deepest column": {"model.overrides.deepest_column": True},
            "global, deepest column": {
                "model.overrides.global_drop_path_share": 1.0,
                "model.overrides.deepest_column": True,
            },
        },
        sizes=[Sizes("parameters")],  # a single column has fewer multiply-adds
        quick=short(240),
    )
