"""How the gradient comes through many layers.

Claim: in plain networks it vanishes with depth under saturating activations and may explode under
others; batch normalisation, highway gates and shortcuts keep its size.
Source: Glorot and Bengio, 2010; Srivastava et al., 2015, §2; He et al., "Identity Mappings", 2016,
eq. 5.
Found: not yet run.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits
from jaxcnn.ablation.measures import gradient_flow


def get_ablation():
    config = on_digits(papers.highway("highway_fc50"), size=28)
    config.train.batch_size = 256
    maps = {"model.overrides.width": 8, "data.image_size": 16}
    return Ablation(
        base=config,
        variants={
            "plain dense 50, ReLU": {"model.overrides.highway": False},
            "plain dense 50, tanh": {
                "model.overrides.highway": False,
                "model.overrides.act": "tanh",
            },
            "plain dense 50, sigmoid": {
                "model.overrides.highway": False,
                "model.overrides.act": "sigmoid",
            },
            "plain dense 10, sigmoid": {
                "model.overrides.highway": False,
                "model.overrides.act": "sigmoid",
                "model.overrides.depth": 10,
            },
            "highway dense 50, ReLU": {},
            "VGG-E, He": {"model.name": "vgg19", "model.kernel_init": "he_normal"} | VGG,
            "VGG-E, N(0, 0.01)": {"model.name": "vgg19", "model.kernel_init": "normal"} | VGG,
            "VGG-E, BN": {"model.name": "vgg19_bn", "model.kernel_init": "normal"} | VGG,
            "plain-56, BN": {"model.name": "cifar_plain56"} | maps,
            "residual-56, BN": {"model.name": "cifar_resnet56"} | maps,
        },
        metric="gradient norm of the first layer",
        x="layers above",
        measure=gradient_flow,
        trains=False,
        log_y=True,
    )


VGG = {
    "data.image_size": 32,
    "model.overrides.stage_features": (16, 32, 64, 64, 64),
    "model.overrides.hidden_features": (),
    "model.overrides.pool_size": (1, 1),
}
