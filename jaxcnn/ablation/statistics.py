"""What runs with several seeds show of a claim.

Variants are compared seed by seed: runs of one seed have the same images in the same order. Of
quantities without an upper limit, such as losses and norms, the logarithms are compared. A verdict
is one of five, by rule:

  agrees               the difference is on the side of the claim
  contradicts          it is on the other side
  equivalent within x  the claim sees a difference, and it is less than x on either side
  could not be seen    none of these; followed by the effect that these runs would have shown with a
                       probability of 80 %
  diverged             every run of both variants

Each is a t-test over seeds at 5 % of error for all claims of a page together (Holm, "A Simple
Sequentially Rejective Multiple Test Procedure", 1979); equivalence is two one-sided tests
(Schuirmann, 1987).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.ablation import Ablation, Claim

LEVEL, POWER = 0.05, 0.8
SMALLEST = 1e-45  # of float32; what is 0 in it counts as this on a logarithmic scale
AGREES, CONTRADICTS, UNSEEN = "agrees", "contradicts", "could not be seen"


class Interval(NamedTuple):
    """A mean and the ends of its interval of 95 %; geometric ones on a logarithmic scale.

    The ends are nan for a single value, and all are if a value is not finite.
    """

    mean: float
    low: float
    high: float

    def cut(self, limits: tuple[float, float]) -> "Interval":
        """Returns the part of it that lies within the values that a metric can have."""
        low, high = limits
        if math.isnan(self.low):
            return self
        return Interval(self.mean, max(self.low, low), min(self.high, high))

    def __str__(self) -> str:
        """Returns "0.939 (0.892 to 0.986)", with two digits of the interval that count."""
        if math.isnan(self.mean):
            return "not finite"
        if math.isnan(self.low):
            return shown(self.mean)
        reach = (self.high - self.low) / 2
        mean, low, high = (shown(value, reach) for value in self)
        return f"{mean} ({low} to {high})"


def shown(value: float, unit: float = 0.0) -> str:
    """Returns a number with two digits of `unit`, or with four digits if that is 0."""
    size = abs(value)
    if size >= 1e5 or (size < 1e-3 and 0 < max(size, unit) < 1e-3):
        return f"{value:.2g}"
    digits = 1 - math.floor(math.log10(float(f"{unit:.1e}"))) if unit > 0 else 4
    return f"{value:.{min(max(digits, 0), 5)}f}"


def interval(values: Sequence[float], *, log: bool = False) -> Interval:
    """Returns the mean of independent values and Student's interval.

    Args:
      values: one for each seed.
      log: whether to take means of logarithms; then all must be positive.
    """
    from scipy import stats

    found = np.asarray(values, np.float64)
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(found >= 0, np.log(np.maximum(found, SMALLEST)), math.nan)
    if not np.all(np.isfinite(found)):
        return Interval(math.nan, math.nan, math.nan)
    mean, half = float(np.mean(found)), math.nan
    if len(found) > 1:
        error = statistics.stdev(found.tolist()) / math.sqrt(len(found))  # exactly 0 of equal ones
        half = float(stats.t.ppf(1 - LEVEL / 2, len(found) - 1) * error)
    ends = (mean, mean - half, mean + half)
    return Interval(*map(math.exp, ends)) if log else Interval(*ends)


class Finding(NamedTuple):
    """What was found of a claim.

    Attributes:
      claim: what was claimed.
      difference: first less second, or first divided by second on a logarithmic scale.
      verdict: a sentence that begins with one of the words of this module; "" without a claim.
      detectable: the least difference, or factor, that would have been seen; nan if unknown.
      seeds: number of seeds with which the difference that was found would be seen; 0 if unknown.
    """

    claim: Claim
    difference: Interval
    verdict: str
    detectable: float = math.nan
    seeds: int = 0

    @property
    def answered(self) -> bool:
        """Whether there is a verdict other than that nothing could be seen."""
        return self.verdict.startswith((AGREES, CONTRADICTS, "equivalent"))


def judge(ablation: Ablation, values: Mapping[str, Mapping[int, float]]) -> list[Finding]:
    """Returns a finding for each comparison of an ablation whose variants have been run.

    Args:
      ablation: what to compare.
      values: of each variant that has been run, by seed.
    """
    claims = [
        claim for claim in ablation.compared if claim.first in values and claim.second in values
    ]
    tests = [_Test.of(ablation, claim, values) for claim in claims]
    levels = _holm([test.p for test in tests if test.claim.relation])
    return [
        test.finding(levels.pop(0) if test.claim.relation else LEVEL, max(len(claims), 1))
        for test in tests
    ]


def _holm(ps: Sequence[float]) -> list[float]:
    """Returns for each p the level at which it counts: 5 % of the rest, 0 after one that fails."""
    levels = [0.0] * len(ps)
    for rank, number in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        level = LEVEL / (len(ps) - rank)
        if not ps[number] <= level:
            break
        levels[number] = level
    return levels


class _Test(NamedTuple):
    """The t-test of one claim. `values` are differences; `margin` is in their unit."""

    claim: Claim
    values: list[float]
    margin: float
    log: bool
    diverged: tuple[int, int]
    runs: tuple[int, int]

    @classmethod
    def of(
        cls, ablation: Ablation, claim: Claim, values: Mapping[str, Mapping[int, float]]
    ) -> "_Test":
        log = ablation.logarithmic
        first, second = values[claim.first], values[claim.second]
        size = _log if log else float
        both = [
            size(first[seed]) - size(second[seed])
            for seed in first
            if seed in second and _usable(first[seed], log) and _usable(second[seed], log)
        ]
        lost = [sum(not _usable(v, log) for v in one.values()) for one in (first, second)]
        margin = ablation.margin(claim)
        runs = len(first), len(second)
        return cls(claim, both, size(margin), log, (lost[0], lost[1]), runs)

    @property
    def p(self) -> float:
        """Probability of so clear a difference if there were none as the claim has it."""
        if self.claim.relation in ("<", ">"):
            return 2 * min(self.above(0.0), self.below(0.0))
        if self.claim.relation == ">=":
            return self.above(-self.margin)
        if self.claim.relation == "<=":
            return self.below(self.margin)
        return max(self.above(-self.margin), self.below(self.margin))

    def above(self, bound: float) -> float:
        """P of the claim that the true difference is above a bound."""
        from scipy import stats

        count = len(self.values)
        if count < 2:
            return 1.0
        distance, error = statistics.fmean(self.values) - bound, self.deviation / math.sqrt(count)
        if error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stats.t.sf(distance / error, count - 1))

    def below(self, bound: float) -> float:
        """P of the claim that the true difference is below a bound."""
        return self._replace(values=[-value for value in self.values]).above(-bound)

    @property
    def deviation(self) -> float:
        return statistics.stdev(self.values)

    def finding(self, level: float, claims: int) -> Finding:
        """Returns the verdict.

        Args:
          level: of `_holm`, 0 if the claim's test fails.
          claims: number of all of the page, which share the error of further tests.
        """
        if self.claim.relation and (said := self._of_diverged()):
            return Finding(self.claim, Interval(math.nan, math.nan, math.nan), said)
        between = interval(
            [math.exp(v) for v in self.values] if self.log else self.values, log=self.log
        )
        if len(self.values) < 2:
            return Finding(self.claim, between, UNSEEN if self.claim.relation else "")
        detectable, seeds = self._power(claims)
        said = self._verdict(level, LEVEL / claims) if self.claim.relation else ""
        if said == UNSEEN:
            said = f"{UNSEEN} ({self._words(detectable)} would have been)"
        return Finding(self.claim, between, said, detectable, seeds)

    def _verdict(self, level: float, other: float) -> str:
        relation, within = self.claim.relation, self._words(self.margin, add=False)
        mean = statistics.fmean(self.values)
        if relation in ("<", ">"):
            if self.p <= level:
                return AGREES if (mean > 0) == (relation == ">") else CONTRADICTS
            close = max(self.above(-self.margin), self.below(self.margin)) <= other
            return f"equivalent within {within}" if close else UNSEEN
        if self.p <= level:
            return f"{AGREES}: {'equivalent' if relation == '~' else 'no worse'} within {within}"
        outside = [self.below(-self.margin)] * (relation != "<=")
        outside += [self.above(self.margin)] * (relation != ">=")
        return CONTRADICTS if min(outside) <= other / len(outside) else UNSEEN

    def _of_diverged(self) -> str:
        """Returns the verdict if every run of a variant diverged, else ""."""
        gone = [lost == runs for lost, runs in zip(self.diverged, self.runs, strict=True)]
        if not any(gone):
            return ""
        if all(gone):
            return "diverged: every run of both"
        name = self.claim.first if gone[0] else self.claim.second
        worse = (">", ">=") if gone[0] else ("<", "<=")  # of what grows when a run diverges
        word = AGREES if self.claim.relation in worse else CONTRADICTS
        return f"{word}: every run of {name} diverged"

    def _power(self, claims: int) -> tuple[float, int]:
        """Returns the effect that these runs would show, and seeds for the one that they have."""
        from scipy import stats

        count, spread = len(self.values), self.deviation
        tails = stats.t.ppf([1 - LEVEL / 2 / claims, POWER], count - 1).sum()
        effect = float(tails * spread / math.sqrt(count))
        mean = abs(statistics.fmean(self.values))
        if not mean:
            return effect, 0
        number = float(stats.norm.ppf([1 - LEVEL / 2 / claims, POWER]).sum() * spread / mean) ** 2
        return effect, math.ceil(min(number, 1e6)) + 2  # two, for Student's wider tails

    def _words(self, amount: float, *, add: bool = True) -> str:
        """Returns "0.013", or "a factor of 1.3" of a logarithm."""
        if self.log:
            return f"{'a factor of ' * add}{math.exp(min(amount, 700)):.3g}"
        return f"{amount:.2g}"


def _usable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value >= 0 or not log)


def _log(value: float) -> float:
    return math.log(max(value, SMALLEST))
