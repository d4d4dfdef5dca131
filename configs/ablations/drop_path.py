"""Drop-path in FractalNet.

Claim: drop-path lowers the error; the deepest column alone does nearly as well as all of them.
Source: Larsson et al., "FractalNet", 2016, table 1 and §4.2.
Design: three columns, three blocks of 16, 32 and 64 maps, no dropout.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("fractalnet_narrow_c3", epochs=30)
    config.model.overrides.update(stage_features=(16, 32, 64), dropout_rates=(0.0, 0.0, 0.0))
    share, rate = "model.overrides.global_drop_path_share", "model.overrides.drop_path_rate"
    both = {share: 0.5, rate: 0.15}
    return Ablation(
        base=config,
        variants={
            "none": {rate: 0.0, share: 0.0},
            "local": {rate: 0.15, share: 0.0},
            "half and half": both,
            "half and half, deepest column": {**both, "model.overrides.deepest_column": True},
        },
        claims=[
            Claim("local", ">", "none"),
            Claim("half and half", ">", "none"),
            Claim("half and half, deepest column", ">=", "half and half", 0.02),
        ],
        sizes=[Sizes("parameters")],  # a single column has fewer multiply-adds
    )
