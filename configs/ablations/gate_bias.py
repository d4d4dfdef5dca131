"""Highway gates that start closed.

Claim: deep highway networks train if the gates' biases start negative, so that each layer passes
its input on at first.
Source: Srivastava et al., "Training Very Deep Networks", 2015, §3.1.
Design: the highway network of 30 layers of 50 units.
"""

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("highway_fc20", epochs=40)
    config.model.overrides.depth = 30
    biases = (0, -2, -4)
    return Ablation(
        base=config,
        variants={f"bias {bias}": {"model.overrides.gate_bias": float(bias)} for bias in biases},
        claims=[Claim("bias -2", "<", "bias 0"), Claim("bias -4", "<", "bias 0")],
        metric="train/loss",
    )
