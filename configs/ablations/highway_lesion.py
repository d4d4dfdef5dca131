"""Which layers of a highway network work.

Claim: the layers near the image matter more than those near the output: when one of them is taken
out after training, the error rises more.
Source: after Srivastava et al., "Training Very Deep Networks", 2015, §4.3 and figure 4 (50 layers,
training error).
Design: the highway network of 20 layers of 50 units; all layers but the first have gates and can be
taken out. Each layer of the first third, or of the last, is taken out alone. What is compared is
the test error that this adds. Both are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.robustness import lesion_of_each
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    thirds = {"first third": (0, 1 / 3), "last third": (2 / 3, 1)}
    return Ablation(
        base=on_glyphs("highway_fc20", epochs=60),
        variants={name: {} for name in thirds},
        claims=[Claim("first third", ">", "last third")],
        metric="test error added without one unit",
        limits=(-1, 1),
        x="unit (mean up to it)",
        measure={
            name: partial(lesion_of_each, start=start, end=end)
            for name, (start, end) in thirds.items()
        },
    )
