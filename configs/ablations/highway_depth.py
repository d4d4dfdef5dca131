"""Highway networks train at depths where plain ones stop.

Claim: plain networks get harder to optimise beyond 10 to 20 layers and fail at 50 and 100; highway
networks of 50 and 100 layers train.
Source: Srivastava et al., "Training Very Deep Networks", 2015, §4.1 and figure 1.
Design: the rate is tuned for each network, as in the paper, and the gates of 50 and 100 layers
start at -4, those of fewer at -2, which is in the range of the paper's search. Layers of the
highway networks have 50 units, plain ones as many as make the parameters equal within 2 %.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs

WIDTHS = {10: 63, 20: 66, 50: 69, 100: 70}  # of plain layers


def get_ablation():
    config = on_glyphs("highway_fc20", epochs=40)
    variants = {
        f"highway {depth}": {
            "model.overrides.depth": depth,
            "model.overrides.gate_bias": -4.0 if depth >= 50 else -2.0,
        }
        for depth in WIDTHS
    }
    for depth, width in WIDTHS.items():
        variants[f"plain {depth}"] = {
            "model.overrides.depth": depth,
            "model.overrides.highway": False,
            "model.overrides.width": width,
        }
    return Ablation(
        base=config,
        variants=variants,
        claims=[
            Claim("plain 50", ">", "plain 10"),
            Claim("plain 100", ">", "plain 10"),
            Claim("highway 50", "<", "plain 50"),
            Claim("highway 100", "<", "plain 100"),
            Claim("highway 100", "<=", "highway 10"),
        ],
        metric="train/loss",
        sizes=[
            Sizes("parameters", (f"highway {depth}", f"plain {depth}"), least=0.98, most=1.02)
            for depth in WIDTHS
        ],
        tune={"schedule.learning_rate": (1e-3, 3e-3)},
    )
