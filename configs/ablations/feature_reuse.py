"""What the layers of a dense block use.

Claim: in the second and third block, layers give less weight to the block's input, which repeats
itself, than to each other's outputs; the classifier weighs the last layers most.
Source: Huang et al., "Densely Connected Convolutional Networks", 2017, §5 ("Feature Reuse") and
figure 5.
Design: a DenseNet of 4 layers in each block, k = 12, without bottlenecks and compression, as in the
figure. Its decay is 5e-3, so that what is not used shrinks in a short run. Mean absolute weights by
source; all are measurements of the same training.
"""

from functools import partial

from jaxcnn.ablation import Ablation, Claim
from jaxcnn.ablation.measures import reused_weights
from jaxcnn.config.recipes.ablation import on_glyphs


def get_ablation():
    config = on_glyphs("densenet_40_12", epochs=40, rate=0.1, sgd=True)
    config.model.overrides.update(stage_sizes=(4, 4, 4), growth_rate=12)
    config.optimizer.weight_decay = 5e-3
    sources = {
        "of the block's input": ("layers", "input"),
        "of the block's layers": ("layers", "layers"),
        "classifier, first half": ("classifier", "early"),
        "classifier, last half": ("classifier", "late"),
    }
    return Ablation(
        base=config,
        variants={name: {} for name in sources},
        claims=[
            Claim("of the block's input", "<", "of the block's layers"),
            Claim("classifier, last half", ">", "classifier, first half"),
        ],
        metric="mean absolute weight",
        limits=(0, float("inf")),
        measure={
            name: partial(reused_weights, of=of, source=source)
            for name, (of, source) in sources.items()
        },
    )
