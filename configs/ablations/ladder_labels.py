"""What unlabelled images add to few labels.

Claim: with 100 labels a Ladder network is far better than the same network trained on the labels
alone; with all labels the gain is small.
Source: Rasmus et al., "Semi-Supervised Learning with Ladder Networks", 2015, table 1.
Design: scikit-learn's digits instead of MNIST, 1,437 images in all; equally many steps of 100
labelled images, to which the ladder adds 100 without label. The ladder's decoder is there in
training alone; what is tested is equal.
"""

from jaxcnn.ablation import Ablation, Claim, Sizes
from jaxcnn.config.recipes import recipe

# As many labelled images in every step as the ladder has beside its unlabelled ones.
ALONE = {
    "model.overrides.decoder": False,
    "data.unlabelled_per_labelled": 0,
    "train.batch_size": 100,
}


def get_ablation():
    config = recipe("ladder")
    config.train.length = "400steps"
    config.schedule.warmup = "270steps"
    config.eval.every = config.log.every = "100steps"
    config.checkpoint.update(every="never", keep_best=0)
    variants = {}
    for labels in (100, 500, 0):
        title = f"{labels or 'all'} labels"
        variants[f"{title}, alone"] = {"data.labelled": labels, **ALONE}
        variants[f"{title}, ladder"] = {"data.labelled": labels}
    return Ablation(
        base=config,
        variants=variants,
        claims=[
            Claim("100 labels, ladder", ">", "100 labels, alone"),
            Claim("all labels, ladder", "~", "all labels, alone"),
        ],
        sizes=[Sizes("macs")],
        seeds=8,
    )
