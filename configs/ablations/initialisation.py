"""What weights start from.

Claim: He initialisation trains a deep ReLU network that Glorot's trains more slowly and N(0, 0.01)
not at all; forms with half of He's variance (Caffe's) or a sixth (torch's) let the signal fade.
Source: Glorot and Bengio, 2010; He et al., "Delving Deep into Rectifiers", 2015, §2.2 and figures
2 and 3.
Design: VGG-E without its last pool, with 16 to 64 maps and without hidden dense layers; AdamW at
3e-4.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg19", rate=3e-4)
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(2, 2, 4, 8))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=(), dropout_rate=0.0)
    names = ("he_normal", "glorot_uniform", "caffe_xavier", "torch_uniform", "normal")
    return Ablation(
        base=config,
        variants={name: {"model.kernel_init": name} for name in names},
        claims=[Claim("he_normal", "<", name) for name in names[1:]],
        metric="train/loss",
    )
