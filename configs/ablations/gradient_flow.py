"""How the gradient comes through many layers.

Claim: in plain networks it vanishes with depth under saturating activations and may explode under
others; batch normalisation, highway gates and shortcuts keep its size.
Source: Glorot and Bengio, 2010; Srivastava et al., 2015, §2; He et al., "Identity Mappings", 2016,
eq. 5.
Found: agrees but for batch normalisation, under which deep plain networks explode. 3 seeds, norm
at the first layer: plain dense networks of 50 layers with ReLU 4e-8 ± 8e-8, with the sigmoid 0 in
float32 (10 layers: 2e-6 ± 1e-6), with tanh 0.48 ± 0.37; highway 0.0131 ± 0.0009. VGG-E 0.004 ±
0.004 from He initialisation and 1e-15 ± 1e-15 from N(0, 0.01), with BN 11 ± 4. Plain-56 with BN
explodes (402 ± 480, against 0.2 at the classifier), residual-56 stays at 2.4 ± 2.2.
Ours: highway layers of 50 units and plain ones of 71, about equally many parameters, as in the
paper; the curves go from the classifier down, so the values compared are those of the first layer.
"""

from jaxcnn.ablation import Ablation, Sizes
from jaxcnn.ablation.measures import gradient_flow
from jaxcnn.config import recipes
from jaxcnn.config.recipes.ablation import on_digits


def get_ablation():
    config = on_digits(recipes.recipe("highway_fc50"), size=28)
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
        baseline={
            "plain dense 50, tanh": "plain dense 50, ReLU",
            "plain dense 50, sigmoid": "plain dense 50, ReLU",
            "highway dense 50, ReLU": "plain dense 50, ReLU",
            "VGG-E, N(0, 0.01)": "VGG-E, He",
            "VGG-E, BN": "VGG-E, N(0, 0.01)",
            "plain-56, BN": "residual-56, BN",
        },
        sizes=[
            Sizes("parameters", ("highway dense 50, ReLU", "plain dense 50, ReLU"), most=1.07),
            Sizes("parameters", ("VGG-E, He", "VGG-E, N(0, 0.01)", "VGG-E, BN")),
            Sizes("parameters", ("plain-56, BN", "residual-56, BN")),
        ],
        metric="gradient norm",
        limits=(0, float("inf")),
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
