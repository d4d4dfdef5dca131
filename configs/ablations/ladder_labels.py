"""What unlabelled images add to few labels.

Claim: with 100 labels a Ladder network is far better than the same network trained on the labels
alone; with all labels the gain is small.
Source: Rasmus et al., "Semi-Supervised Learning with Ladder Networks", 2015, table 1.
Found: not yet run.
Ours: digits instead of MNIST: 1,437 images in all; 32 labelled images in every step, and as many
without label for the ladder.
"""

from jaxcnn import papers
from jaxcnn.ablation import Ablation
from jaxcnn.ablation.bases import on_digits, short


def get_ablation():
    config = on_digits(papers.ladder("ladder_mnist_mlp"), size=28)
    return Ablation(
        base=config,
        variants={
            "100 labels, ladder": {"data.labelled": 100, "model.overrides.decoder": True},
            "100 labels, labels alone": {
                "data.labelled": 100,
                "model.overrides.decoder": False,
                "data.unlabelled_per_labelled": 0,
                "train.batch_size": 32,
            },
            "500 labels, ladder": {"data.labelled": 500, "model.overrides.decoder": True},
            "500 labels, labels alone": {
                "data.labelled": 500,
                "model.overrides.decoder": False,
                "data.unlabelled_per_labelled": 0,
                "train.batch_size": 32,
            },
            "all labels, ladder": {"data.labelled": 0, "model.overrides.decoder": True},
            "all labels, labels alone": {
                "data.labelled": 0,
                "model.overrides.decoder": False,
                "data.unlabelled_per_labelled": 0,
                "train.batch_size": 32,
            },
        },
        quick=short(300),
        baseline="100 labels, labels alone",
    )
