"""What an activation costs.

Claim: ReLU and its leaky form cost the same; those with an exponential cost more.
Source: Krizhevsky et al., 2012, §3.1; Clevert et al., arXiv 1511.07289, §4.
Design: VGG-A without its last stage and with 16 to 64 maps, timed alone.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import speed
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=10, rate=1e-3)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    acts = ("relu", "leaky_relu", "elu", "tanh")
    return Ablation(
        base=config,
        variants={act: {"model.overrides.act": act} for act in acts},
        claims=[
            Claim("leaky_relu", "~", "relu", 1.1),
            Claim("elu", "<", "relu", 1.1),
            Claim("tanh", "<", "relu", 1.1),
        ],
        metric="steps per second",
        limits=(0, float("inf")),
        measure=speed,
        alone=True,
    )
