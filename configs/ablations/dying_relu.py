"""Large rates kill ReLUs.

Claim: with a large learning rate units of ReLU networks come to be 0 for every input;
with batch normalisation they do not.
Source: Maas et al., "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013, §2;
Ioffe and Szegedy, 2015, §3.3.
Design: VGG-A without its last stage and with 16 to 64 maps; the share of channels that are 0 for
all 2,160 test images.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import dead_channels
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", rate=1e-3)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    large = {"schedule.learning_rate": 1e-2}
    return Ablation(
        base=config,
        variants={
            "rate 0.001": {},
            "rate 0.01": large,
            "rate 0.01, BN": {**large, "model.overrides.norm": "batch_norm"},
        },
        claims=[Claim("rate 0.01", ">", "rate 0.001"), Claim("rate 0.01, BN", "<", "rate 0.01")],
        metric="share of dead channels",
        limits=(0, 1),
        x="ReLU",
        measure=dead_channels,
    )
