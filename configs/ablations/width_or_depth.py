"""Wide and shallow, or thin and deep, with equally many parameters.

Claim: a wide network of 10 or 16 layers does as well as a thin one of 28.
Source: Zagoruyko and Komodakis, "Wide Residual Networks", 2016, table 4.
Design: 0.18 million parameters each, within 2 %. That the wide one also trains faster is in the
column of the time per step.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("wrn_16_8", epochs=30, rate=0.1, sgd=True)

    def network(units, width):
        return {"model.overrides.stage_sizes": (units,) * 3, "model.overrides.width": width}

    return Ablation(
        base=config,
        variants={
            "10 layers": network(1, 24),
            "16 layers": network(2, 16),
            "28 layers": network(4, 11),
        },
        claims=[
            Claim("16 layers", ">=", "28 layers"),
            Claim("10 layers", ">=", "28 layers"),
        ],
        sizes=[Sizes("parameters", least=0.98, most=1.02), Sizes("macs", least=0.98, most=1.03)],
    )
