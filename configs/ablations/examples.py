"""How hard the glyphs are: more examples to train on.

Claim: the test error falls with every doubling of the number of training examples, so that none of
these numbers is too small or too large to compare networks with.
Source: ours, about the images that the other ablations use.
Design: ResNet-20 of half the width, equally many steps with each number of examples.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("cifar_resnet20", rate=0.1, sgd=True)
    config.model.overrides.width = 8
    config.train.length, config.schedule.warmup = "600steps", "120steps"
    config.log.every, config.eval.every = "30steps", "150steps"
    numbers = (180, 360, 720, 1440)
    return Ablation(
        base=config,
        variants={f"{number:,} examples": {"data.labelled": number} for number in numbers},
        claims=[
            Claim("360 examples", ">", "180 examples"),
            Claim("720 examples", ">", "360 examples"),
            Claim("1,440 examples", ">", "720 examples"),
        ],
    )
