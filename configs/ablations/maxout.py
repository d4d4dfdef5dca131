"""Learned activations.

Claim: with dropout, maxout units have a lower error than rectifiers in a network of equal size.
Source: Goodfellow et al., "Maxout Networks", 2013, §6 and figure 6.
Design: VGG-A without its last stage; with batch normalisation and He's initialisation, and dropout
on two hidden dense layers, where the paper has dropout on all layers and no batch normalisation. A
maxout unit is the larger of two linear ones, so layers have 0.7 to 0.75 times as many units, but as
many parameters.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("vgg11_bn", epochs=80)
    config.model.overrides.update(stage_sizes=(1, 1, 2, 2), pool_size=(1, 1))
    config.model.overrides.update(dense_init="he_normal", classifier_init="he_normal")

    def units(name, features, hidden):
        return {
            "model.overrides.act": name,
            "model.overrides.stage_features": features,
            "model.overrides.hidden_features": hidden,
        }

    return Ablation(
        base=config,
        variants={
            "ReLU": units("relu", (16, 32, 64, 64), (256, 256)),
            "maxout": units("maxout", (24, 46, 90, 90), (360, 360)),
        },
        claims=[Claim("maxout", ">", "ReLU")],
        sizes=[Sizes("parameters", least=0.98, most=1.02)],
    )
