"""Highway networks train at depths where plain ones stop.

Claim: plain networks get harder to optimise beyond 10 to 20 layers and fail at 50 and 100; highway
networks of 100 layers train as easily as shallow ones.
Source: Srivastava et al., "Training Very Deep Networks", 2015, §4.1 and figure 1.
Found: not yet run.
Ours: our optimizer for all, where the paper searches one for each network.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.highway("highway_fc20"), size=28)
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
        baseline="highway 10",
    )
