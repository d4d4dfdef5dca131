"""Noise in the images.

Claim: ELUs, which saturate for negative inputs, suffer less from noise than PReLUs, which do not.
Source: ours, after Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear
Units", 2016, §1 and §3 ("noise-robust deactivation state").
Design: VGG-A without its last stage, with 16 to 64 maps and He's initialisation, trained on glyphs
as they are, with noise of a deviation of 15 (of 255). Noise of 40 is added to the test images. What
is compared is the share of the images, of those that the network has right, that it then gets
wrong.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.robustness import noise
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11", epochs=30, rate=1e-3)
    config.model.kernel_init = "he_normal"
    config.model.overrides.update(stage_features=(16, 32, 64, 64), stage_sizes=(1, 1, 2, 2))
    config.model.overrides.update(pool_size=(1, 1), hidden_features=())
    names = ("elu", "prelu", "relu")
    return Ablation(
        base=config,
        variants={name: {"model.overrides.act": name} for name in names},
        claims=[Claim("elu", "<", "prelu")],
        metric="share of right answers lost by noise of 40",
        limits=(0, 1),
        x="noise, of 255",
        measure=noise,
    )
