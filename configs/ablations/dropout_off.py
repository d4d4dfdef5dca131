"""Without dropout the objective falls monotonically.

Claim: the noise of dropout makes the training loss go up and down; without it (and without
augmentation) it falls from epoch to epoch.
Source: Srivastava et al., "Dropout", 2014; the notes on AlexNet.
Design: the network of `dropout`, its loss noted after each epoch.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import rises
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=40)
    config.data.pad = 0
    config.log.every = "1epochs"
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(512, 512))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")
    return Ablation(
        base=config,
        variants={
            "dropout 0.5": {"model.overrides.dropout_rate": 0.5},
            "no dropout": {"model.overrides.dropout_rate": 0.0},
        },
        claims=[Claim("dropout 0.5", ">", "no dropout")],
        metric="share of epochs in which the training loss rose",
        limits=(0, 1),
        measure=rises,
    )
