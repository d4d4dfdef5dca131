"""Linear classifiers on fixed features, by least squares.

They show how good the features of a network are without training it: least squares on the features
of all training images, or of a few of each class, as the few-shot accuracies of Dosovitskiy et al.,
"An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, §4.1. The solution is in closed form, and
so is the error of each example when it is left out (Allen, "The Relationship Between Variable
Selection and Data Augmentation and a Method for Prediction", 1974), which chooses the strength of
the regularisation. That takes no further images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError

STRENGTHS = tuple(2.0**power for power in range(-10, 21))  # of the regularisation


class LinearProbe(NamedTuple):
    """A linear classifier of features; made by `fit`.

    Attributes:
      mean: of the training features, [C].
      deviation: standard deviation of the training features, [C]; 1 where they are constant.
      kernel: [C, K], for standardised features.
      bias: [K].
      strength: λ, chosen by leaving examples out.
    """

    mean: np.ndarray
    deviation: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    strength: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns the scores [n, K] of features [n, C]."""
        return (features - self.mean) / self.deviation @ self.kernel + self.bias

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Returns the share of features [n, C] whose largest score is that of the label [n]."""
        return float(np.mean(np.argmax(self.scores(features), axis=-1) == labels))


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearProbe:
    """Returns the classifier that minimises |X·W + b - Y|² + λ·|W|².

    X are the features, standardised by their own mean and deviation, and Y is 1 for the label and
    -1 for the other classes. The strength λ has the smallest squared error of examples that are
    left out, one at a time.

    Args:
      features: [n, C], finite.
      labels: int [n].
      num_classes: K.
      strengths: λ to choose from.
    """
    wide = np.asarray(features, np.float64)
    mean, deviation = wide.mean(0), wide.std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    targets = 2.0 * (np.asarray(labels)[:, None] == np.arange(num_classes)) - 1
    bias = targets.mean(0)
    left, values, right = _singular((wide - mean) / deviation)
    projected = left.T @ (targets - bias)
    errors = [_left_out(left, values, projected, targets - bias, each) for each in strengths]
    strength = strengths[int(np.argmin(errors))]
    kernel = right @ ((values / (values**2 + strength))[:, None] * projected)
    return LinearProbe(mean, deviation, kernel, bias, strength)


def _singular(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns U [n, r], s [r], V [C, r] of X = U·diag(s)·Vᵀ, by the smaller of XᵀX and XXᵀ."""
    rows, columns = x.shape
    squares, vectors = np.linalg.eigh(x @ x.T if rows < columns else x.T @ x)
    kept = squares > squares[-1] * max(x.shape) * np.finfo(np.float64).eps
    values, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    if rows < columns:
        return vectors, values, x.T @ vectors / values
    return x @ vectors / values, values, vectors


def _left_out(
    left: np.ndarray,
    values: np.ndarray,
    projected: np.ndarray,
    targets: np.ndarray,
    strength: float,
) -> float:
    """Returns the sum of the squared errors of examples that are left out, one at a time.

    The error of an example is its residual over 1 - h, where h is its entry of the diagonal of the
    matrix that maps targets to predictions.
    """
    shrunk = values**2 / (values**2 + strength)
    residuals = targets - left @ (shrunk[:, None] * projected)
    influence = 1 / len(targets) + left**2 @ shrunk
    return float(np.sum((residuals / np.maximum(1 - influence, 1e-12)[:, None]) ** 2))


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
    drawn = [order[labels[order] == label][:shots] for label in range(len(class_names))]
    fewest = int(np.argmin([len(one) for one in drawn]))
    if len(drawn[fewest]) < shots:
        raise UserError(
            f"--shots={shots}: class {class_names[fewest]} has {len(drawn[fewest])} training images"
        )
    return np.sort(np.concatenate(drawn))
