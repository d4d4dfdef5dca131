"""Highway networks train at depths where plain ones stop.

Claim: plain networks get harder to optimise beyond 10 to 20 layers and fail at 50 and 100; highway
networks of 100 layers train as easily as shallow ones.
Source: Srivastava et al., "Training Very Deep Networks", 2015, §4.1 and figure 1.
Found: agrees. Quick, 3 seeds, training loss: plain 50 and 100 stay at 2.303, plain 20 is at 0.78 ±
0.47; highway 20 at 0.040 ± 0.027, 50 at 0.55 ± 0.83, 100 at 1.35 ± 0.74, both still falling: they
train, but not as fast as shallow ones.
Ours: our optimizer for all, where the paper searches one for each network. Layers of the highway
networks have 50 units and plain ones 71, as in the paper, and so equally many parameters; the first
layer has not, which is up to a fifth of all at depth 10.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits, short


def get_ablation():
    config = on_digits(recipes.recipe("highway_fc20"), size=28)
    return Ablation(
        base=config,
        variants={
            "highway 10": {"model.overrides.depth": 10, "model.overrides.highway": True},
            "highway 20": {"model.overrides.depth": 20, "model.overrides.highway": True},
            "highway 50": {"model.overrides.depth": 50, "model.overrides.highway": True},
            "highway 100": {"model.overrides.depth": 100, "model.overrides.highway": True},
            "plain 10": {"model.overrides.depth": 10, "model.overrides.highway": False},
            "plain 20": {"model.overrides.depth": 20, "model.overrides.highway": False},
            "plain 50": {"model.overrides.depth": 50, "model.overrides.highway": False},
            "plain 100": {"model.overrides.depth": 100, "model.overrides.highway": False},
        },
        metric="train/loss",
        quick=short(200),
        baseline={f"plain {depth}": f"highway {depth}" for depth in (10, 20, 50, 100)},
        sizes=[
            Sizes("parameters", (f"highway {depth}", f"plain {depth}"), most=most)
            for depth, most in ((10, 1.2), (20, 1.13), (50, 1.06), (100, 1.04))
        ],
    )
