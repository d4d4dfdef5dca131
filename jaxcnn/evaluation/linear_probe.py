"""Linear classifiers on fixed features, by scikit-learn's regularised least squares.

They show how good the features of a network are without training it: on the features of all
training images, or of a few of each class, as the few-shot accuracies of Dosovitskiy et al., "An
Image is Worth 16x16 Words", 2020, arXiv 2010.11929, §4.1.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxcnn.data.dataset import first_of_each_class
from jaxcnn.errors import UserError

STRENGTHS = tuple(2.0**power for power in range(-10, 21))  # of the regularisation


def fit(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """Returns a classifier; its `score` is the accuracy on other features and labels.

    The features are standardised by their own mean and deviation. The strength of the
    regularisation, `[-1].alpha_`, has the smallest squared error of examples that are left out, one
    at a time.

    Args:
      features: [n, C], finite.
      labels: int [n].
    """
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=STRENGTHS))
    return probe.fit(features, labels)


def draw_shots(labels: np.ndarray, shots: int, class_names: Sequence[str], seed: int) -> np.ndarray:
    """Returns the indices of `shots` examples of each class, drawn by the seed.

    Args:
      labels: int [n].
      shots: of each class.
      class_names: one for each class.
      seed: of the draw.

    Raises:
      UserError: if a class has fewer examples.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = first_of_each_class(order, labels, len(class_names), shots)
    fewest = int(np.argmin([len(one) for one in drawn]))
    if len(drawn[fewest]) < shots:
        raise UserError(
            f"--shots={shots}: class {class_names[fewest]} has {len(drawn[fewest])} training images"
        )
    return np.sort(np.concatenate(drawn))
