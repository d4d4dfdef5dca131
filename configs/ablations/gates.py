"""Where a highway network decides by the image.

Claim: the gates of the layers near the image depend on the image more than those near the output,
which carry the result on for most images.
Source: after Srivastava et al., "Training Very Deep Networks", 2015, §4.1, §4.2 and figure 2 (50
layers, MNIST). The gate is that of a GRU (Cho et al., 2014), from layer to layer instead of from
one moment to the next.
Design: the highway network of 20 layers of 50 units; all layers but the first have gates. What is
compared is the standard deviation of a gate over the test images, mean over the gates of a third of
the layers. Both are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import gate_variation
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    thirds = {"first third": (0, 1 / 3), "last third": (2 / 3, 1)}
    return Ablation(
        base=on_glyphs("highway_fc20", epochs=60),
        variants={name: {} for name in thirds},
        claims=[Claim("first third", ">", "last third")],
        metric="deviation of a gate over images",
        limits=(0, 0.5),
        x="unit (mean up to it)",
        measure={
            name: partial(gate_variation, start=start, end=end)
            for name, (start, end) in thirds.items()
        },
    )
