"""How the gradient comes through many layers.

Claim: in plain networks it vanishes with depth under saturating activations; highway gates and
batch normalisation keep it from vanishing. Ours: with batch normalisation it explodes in deep plain
networks, before they are trained, and shortcuts prevent that.
Source: Glorot and Bengio, 2010; Srivastava et al., 2015, §2; Ioffe and Szegedy, 2015, §3.3.
Design: before training. Highway layers of 50 units and plain ones of 69, about equally many
parameters; the curves go from the classifier down, so the values compared are those of the first
layer. Less than 1.2e-38, the smallest normal number of float32, counts as that.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.ablation.measures import gradient_flow
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("highway_fc50")
    config.train.batch_size = 240
    plain = {"model.overrides.highway": False, "model.overrides.width": 69}
    vgg = {
        "model.overrides.stage_features": (16, 32, 64, 64),
        "model.overrides.stage_sizes": (2, 2, 4, 8),
        "model.overrides.hidden_features": (),
        "model.overrides.pool_size": (1, 1),
    }
    return Ablation(
        base=config,
        variants={
            "plain dense 50, ReLU": plain,
            "plain dense 50, tanh": {**plain, "model.overrides.act": "tanh"},
            "plain dense 50, sigmoid": {**plain, "model.overrides.act": "sigmoid"},
            "plain dense 10, sigmoid": {
                **plain,
                "model.overrides.act": "sigmoid",
                "model.overrides.depth": 10,
            },
            "highway dense 50, ReLU": {},
            "VGG-E, He": {"model.name": "vgg19", "model.kernel_init": "he_normal", **vgg},
            "VGG-E, N(0, 0.01)": {"model.name": "vgg19", "model.kernel_init": "normal", **vgg},
            "VGG-E, BN": {"model.name": "vgg19_bn", "model.kernel_init": "normal", **vgg},
            "plain-56, BN": {"model.name": "cifar_plain56", "model.overrides.width": 8},
            "residual-56, BN": {"model.name": "cifar_resnet56", "model.overrides.width": 8},
        },
        claims=[
            Claim("plain dense 50, sigmoid", "<", "plain dense 10, sigmoid"),
            Claim("plain dense 50, sigmoid", "<", "plain dense 50, ReLU"),
            Claim("highway dense 50, ReLU", ">", "plain dense 50, ReLU"),
            Claim("VGG-E, N(0, 0.01)", "<", "VGG-E, He"),
            Claim("VGG-E, BN", ">", "VGG-E, N(0, 0.01)"),
            Claim("residual-56, BN", "<", "plain-56, BN"),
        ],
        sizes=[
            Sizes("parameters", ("highway dense 50, ReLU", "plain dense 50, ReLU"), least=0.98),
            Sizes("parameters", ("VGG-E, He", "VGG-E, N(0, 0.01)")),
            Sizes("parameters", ("plain-56, BN", "residual-56, BN")),
        ],
        metric="gradient norm",
        limits=(0, float("inf")),
        x="layers above",
        seeds=10,
        measure=gradient_flow,
        trains=False,
    )
