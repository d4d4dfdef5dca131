"""LeNet-5's sparse third layer.

Claim: connecting each of C3's maps to some of S2's maps does as well as connecting it to all, for
fewer connections.
Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, §II.B and
table 1.
Design: scikit-learn's digits, whose ten classes the output's codes are made for; 300 training
examples.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes import recipe


def get_ablation():
    config = recipe("lenet5_1998")
    config.data.labelled = 300
    config.train.length = "60epochs"
    config.eval.every = "15epochs"
    config.log.every = "3epochs"
    config.checkpoint.update(every="never", keep_best=0)
    return Ablation(
        base=config,
        variants={"table": {}, "all": {"model.name": "lenet5_full_c3"}},
        claims=[Claim("table", ">=", "all")],
        sizes=[Sizes("parameters", ("all", "table"), least=0.9, most=1)],
        seeds=8,
    )
