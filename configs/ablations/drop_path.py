"""Drop-path in FractalNet.

Claim: drop-path lowers the error without augmentation; mixed with dropout more so; the deepest
column alone does nearly as well as all of them.
Source: Larsson et al., "FractalNet", 2016, table 1 and §4.2.
Found: not yet run.
Ours: three columns of the narrow network, 300 training examples.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.fractalnet("fractalnet_narrow_c3"), size=32, examples=300)
    return Ablation(
        base=config,
        variants={
            "none": {
                "model.overrides.drop_path_rate": 0.0,
                "model.overrides.global_drop_path_share": 0.0,
            },
            "local": {"model.overrides.global_drop_path_share": 0.0},
            "global": {"model.overrides.global_drop_path_share": 1.0},
            "half and half": {},
            "half and half, deepest column": {"model.overrides.deepest_column": True},
        },
        quick=short(80),
    )
