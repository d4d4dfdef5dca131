"""A deep network that starts from a shallow one.

Claim: from small random weights network D hardly learns; it does if its first four convolutions and
its dense layers come from a trained network A, and also with Glorot's initialisation and without A.
Source: after Simonyan and Zisserman, 2014, §3.1, whose random weights had a variance of 0.01.
Design: A and D without their last stage, with 16 to 64 maps. A is trained first, for as long as D.
Small weights are uniform with variance 1/(3 fan-in).
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import copied_start
from jaxcnn.config.recipes.ablation import on_glyphs
from jaxcnn.models.vgg import FROM_NET_A


def get_ablation():
    config = on_glyphs("vgg16", rate=1e-3)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(2, 2, 3, 3))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(128, 128), dropout_rate=0.0)
    a = {"model.name": "vgg11", "model.overrides.stage_sizes": (1, 1, 2, 2)}

    def start(name):
        dense = dict.fromkeys(("dense_init", "classifier_init"), name)
        fields = {f"model.overrides.{field}": value for field, value in dense.items()}
        return {"model.kernel_init": name, **fields}

    return Ablation(
        base=config,
        variants={
            "small weights": start("torch_uniform"),
            "from A": start("torch_uniform"),
            "Glorot": start("glorot_uniform"),
        },
        claims=[Claim("from A", "<", "small weights"), Claim("Glorot", "<", "small weights")],
        metric="train/loss",
        measure={
            "small weights": copied_start,
            "from A": partial(copied_start, first=a, layers=FROM_NET_A),
            "Glorot": copied_start,
        },
        trains=False,
    )
