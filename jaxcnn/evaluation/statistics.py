"""Confidence intervals of shares, and the comparison of two classifiers on the same examples."""

import math
import statistics
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError

LEVEL = 0.95  # of all intervals


class Paired(NamedTuple):
    """Counts of examples by the correctness of two classifiers.

    Attributes:
      both: examples that both classify correctly.
      first: examples that only the first one classifies correctly.
      second: examples that only the second one classifies correctly.
      neither: examples that neither classifies correctly.
    """

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """Returns the number of examples."""
        return sum(self)

    @property
    def difference(self) -> float:
        """Returns the accuracy of the second one minus that of the first one."""
        return (self.second - self.first) / self.total

    @property
    def p_value(self) -> float:
        """Returns the two-sided p-value of McNemar's test in its exact form.

        If both classifiers are equally good, each example on which they differ is won by either
        with probability 1/2. McNemar, "Note on the sampling error of the difference between
        correlated proportions or percentages", 1947; the exact form is the binomial test. Returns 1
        if they never differ.
        """
        from scipy import stats

        differing = self.first + self.second
        return float(stats.binomtest(self.first, differing, 0.5).pvalue) if differing else 1.0

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Returns a confidence interval of the difference of the accuracies.

        Wald's interval after adding half an example to each of the four counts. Agresti and Min,
        "Simple improved confidence intervals for comparing matched proportions", Statistics in
        Medicine 24, 2005, §3.

        Args:
          level: probability that the interval covers the true difference.
        """
        total = self.total + 2
        middle = (self.second - self.first) / total
        spread = (self.first + self.second + 1) / total - middle**2
        half = normal_quantile(level) * math.sqrt(spread / total)
        return max(middle - half, -1.0), min(middle + half, 1.0)


def normal_quantile(level: float = LEVEL) -> float:
    """Returns z such that ±z standard deviations hold a share `level` of a normal: 1.96."""
    return statistics.NormalDist().inv_cdf((1 + level) / 2)


def wilson(hits: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Returns Wilson's score interval of a share, or (0, 1) if there are no examples.

    Unlike Wald's it stays within [0, 1] and has a width at 0 and at 1. Wilson, "Probable inference,
    the law of succession, and statistical inference", Journal of the American Statistical
    Association 22, 1927.

    Args:
      hits: 0 to `count`.
      count: independent examples.
      level: probability that the interval covers the true share.
    """
    if not count:
        return 0.0, 1.0
    z, share = normal_quantile(level), hits / count
    scale = 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Returns the counts of examples by the correctness of two classifiers.

    Args:
      first: bool [n], whether the first one is correct.
      second: bool [n], whether the second one is correct on the same examples.

    Raises:
      UserError: if the numbers of examples differ, or there are none.
    """
    if first.shape != second.shape or not first.size:
        raise UserError(
            f"{first.size} and {second.size} examples cannot be compared one by one: give two"
            " classifiers the same ones"
        )
    counts = [first & second, first & ~second, ~first & second, ~first & ~second]
    return Paired(*(int(np.count_nonzero(one)) for one in counts))
