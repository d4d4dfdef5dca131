"""Which activation trains faster.

Claim: ReLU reaches a lower training loss than tanh in the same time; the parametric and the
exponential form are faster than ReLU; the sigmoid saturates and hardly trains a deep network.
Source: Krizhevsky et al., 2012, figure 1; He et al., arXiv 1502.01852; Clevert et al., arXiv
1511.07289.
Design: VGG-A without its last stage and with 16 to 64 maps, He's initial weights for all, the rate
tuned for each by the training loss. The loss of the randomised form is that of its random slopes.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11")
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    acts = ("relu", "leaky_relu", "prelu", "rrelu", "elu", "tanh", "sigmoid")
    return Ablation(
        base=config,
        variants={act: {"model.overrides.act": act} for act in acts},
        claims=[
            Claim("relu", "<", "tanh"),
            Claim("relu", "<", "sigmoid"),
            Claim("prelu", "<", "relu"),
            Claim("elu", "<", "relu"),
        ],
        metric="train/loss",
        tune={"schedule.learning_rate": (1e-3, 3e-3)},
    )
