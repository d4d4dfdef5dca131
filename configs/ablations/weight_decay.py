"""Weight decay and the training loss.

Claim: a small weight decay is not only a regulariser: it lowers the training error.
Source: Krizhevsky et al., 2012, §5.
Design: VGG-A without its last stage and with 16 to 64 maps, SGD; the paper's decay, none, and ten
times as much.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", rate=0.01, sgd=True)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    return Ablation(
        base=config,
        variants={
            "none": {"optimizer.weight_decay": 0.0},
            "0.0005": {"optimizer.weight_decay": 5e-4},
            "0.005": {"optimizer.weight_decay": 5e-3},
        },
        claims=[Claim("0.0005", "<", "none")],
        metric="train/loss",
    )
