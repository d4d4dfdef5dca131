"""A deep network that starts from a shallow one.

Claim: network D learns if its first four convolutions and its dense layers come from a trained
network A; from small random weights it does not start. Glorot's initialisation does without A.
Source: Simonyan and Zisserman, 2014, §3.1.
Design: A and D without their last pool, with 16 to 64 maps. A is trained first, for as long as D.
Small weights are uniform with variance 1/(3 fan-in).
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import copied_start
from jaxcnn.config.recipes.ablation import on_glyphs
from jaxcnn.models.vgg import FROM_NET_A


def get_ablation():
    config = on_glyphs("vgg16", epochs=20, rate=1e-3)
    config.model.kernel_init = "torch_uniform"
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(2, 2, 3, 3))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(128, 128), dropout_rate=0.0)
    a = {"model.name": "vgg11", "model.overrides.stage_sizes": (1, 1, 2, 2)}
    return Ablation(
        base=config,
        variants={
            "from A": {},
            "small weights": {},
            "Glorot": {"model.kernel_init": "glorot_uniform"},
        },
        claims=[Claim("from A", "<", "small weights"), Claim("Glorot", "<=", "from A")],
        metric="train/loss",
        measure={
            "from A": partial(copied_start, first=a, layers=FROM_NET_A),
            "small weights": copied_start,
            "Glorot": copied_start,
        },
        trains=False,
    )
