"""What runs with several seeds show of a claim.

Variants are compared seed by seed: runs of one seed have the same images in the same order. Of
quantities without an upper limit, such as losses and norms, the logarithms are compared. A verdict
is one of these, by rule:

  agrees               the difference is on the side of the claim
  contradicts          it is on the other side
  equivalent within x  the claim sees a difference, and it is less than x on either side
  could not be seen    none of these, with the difference that these runs would have shown with a
                       probability of 80 %; of a claim with a margin, with the margin for which they
                       would have agreed with this probability, if the variants were equal

The tests are t-tests over seeds. Those of the claims of a page share 5 % of error (Holm, "A Simple
Sequentially Rejective Multiple Test Procedure", 1979); equivalence is two one-sided tests
(Schuirmann, 1987), and these and contradictions of such claims share another 5 %. A run that
diverged, or never got there, counts as the worst of all: where runs are lost, a verdict never
favours the variant that lost more, and where hardly any are left the numbers of lost runs are
compared by Fisher's exact test.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.ablation import Ablation, Claim

LEVEL, POWER = 0.05, 0.8
SMALLEST = 1.2e-38  # normal number of float32; less counts as this on a logarithmic scale
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
    return Interval(*map(_exp, ends)) if log else Interval(*ends)


class Finding(NamedTuple):
    """What was found of a claim.

    Attributes:
      claim: what was claimed.
      difference: first less second, or first divided by second on a logarithmic scale.
      verdict: a sentence that begins with one of the words of this module; "" without a claim.
      detectable: the least difference, or the least margin, that would have been seen; on a
        logarithmic scale the logarithm of the factor. nan if unknown.
      seeds: number of seeds with which the difference that was found would be seen; 0 if unknown or
        if the claim has a margin.
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
    """The t-test of one claim.

    `values` are differences; `margin` and `widest`, the largest possible one, are in their unit.
    """

    claim: Claim
    values: list[float]
    margin: float
    log: bool
    diverged: tuple[int, int]
    runs: tuple[int, int]
    larger_is_better: bool
    widest: float

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
        better = ablation.maximised
        low, high = ablation.bounds
        return cls(claim, both, size(margin), log, (lost[0], lost[1]), runs, better, high - low)

    @property
    def differs(self) -> bool:
        """Whether the claim is a difference, and not that one is equal or no worse."""
        return self.claim.relation in ("<", ">")

    @property
    def p(self) -> float:
        """Probability of so clear a result if the claim were not so."""
        if self.differs:
            if sum(self.diverged):
                return self._p_of_diverged()
            return 2 * min(self.above(0.0), self.below(0.0))
        if sum(self.diverged):
            return 1.0
        if self.claim.relation == ">=":
            return self.above(-self.margin)
        if self.claim.relation == "<=":
            return self.below(self.margin)
        return max(self.above(-self.margin), self.below(self.margin))

    def _p_of_diverged(self) -> float:
        """P of a difference where runs are lost; 1 if it favours the variant that lost more."""
        from scipy import stats

        (lost, other), (runs, others) = self.diverged, self.runs
        if len(self.values) < 2:
            table = [[lost, runs - lost], [other, others - other]]
            return float(stats.fisher_exact(table).pvalue)
        same_side = lost == other or (statistics.fmean(self.values) > 0) == (self.worst_side > 0)
        return 2 * min(self.above(0.0), self.below(0.0)) if same_side else 1.0

    @property
    def worst_side(self) -> float:
        """Sign of first less second if only the numbers of lost runs counted."""
        worse = self.diverged[0] - self.diverged[1]
        return -worse if self.larger_is_better else worse

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
        values = [_exp(value) for value in self.values] if self.log else self.values
        between = interval(values, log=self.log) if values else Interval(*[math.nan] * 3)
        said = self._verdict(level, LEVEL / claims) if self.claim.relation else ""
        detectable, seeds = math.nan, 0
        if self.claim.relation and len(self.values) > 1:
            detectable, seeds = self._power(claims)
            if said == UNSEEN and not self.differs and detectable <= self.margin:
                said = f"{UNSEEN} (the difference is near the margin)"
            elif said == UNSEEN:
                said = f"{UNSEEN} ({self._seen(detectable)} would have been)"
        if self.claim.relation and sum(self.diverged):
            names = (self.claim.first, self.claim.second)
            lost = [
                f"{count} of {runs} runs of {name}"
                for count, runs, name in zip(self.diverged, self.runs, names, strict=True)
                if count
            ]
            said = f"{said}; lost: {', '.join(lost)}"
        return Finding(self.claim, between, said, detectable, seeds)

    def _verdict(self, level: float, other: float) -> str:
        relation, within = self.claim.relation, self._words(self.margin, add=False)
        if self.differs:
            close = not sum(self.diverged) and self._equivalence() <= other
            if self.p <= level:
                side = statistics.fmean(self.values) if len(self.values) > 1 else self.worst_side
                word = AGREES if (side > 0) == (relation == ">") else CONTRADICTS
                return f"{word}, by less than {within}" if close else word
            return f"equivalent within {within}" if close else UNSEEN
        if self.p <= level:
            return f"{AGREES}: equivalent within {within}" if relation == "~" else AGREES
        if sum(self.diverged):
            return UNSEEN
        outside = [self.below(-self.margin)] * (relation != "<=")
        outside += [self.above(self.margin)] * (relation != ">=")
        return CONTRADICTS if min(outside) <= other / len(outside) else UNSEEN

    def _equivalence(self) -> float:
        """P of the claim that the true difference is less than the margin on either side."""
        return max(self.above(-self.margin), self.below(self.margin))

    def _power(self, claims: int) -> tuple[float, int]:
        """Returns the effect that these runs would show, and seeds for the one that they have.

        For a claim with a margin, the effect is the margin for which they would have agreed, if the
        variants were equal, and there is no number of seeds. The spread of few runs is itself
        uncertain, so the effect takes the upper end of its one-sided interval of 80 %.
        """
        from scipy import stats

        if not self.differs and any(self.diverged):
            return math.nan, 0
        count, spread = len(self.values), self.deviation
        upper = spread * math.sqrt((count - 1) / stats.chi2.ppf(1 - POWER, count - 1))
        both = self.claim.relation == "~"  # two tests, which must both succeed
        chances = [1 - LEVEL / (1 + self.differs) / claims, (1 + POWER) / 2 if both else POWER]
        effect = float(stats.t.ppf(chances, count - 1).sum() * upper / math.sqrt(count))
        mean = abs(statistics.fmean(self.values))
        if not mean or not self.differs:
            return effect, 0
        number = float(stats.norm.ppf(chances).sum() * spread / mean) ** 2
        return effect, math.ceil(min(number, 1e6)) + 2  # two, for Student's wider tails

    def _seen(self, detectable: float) -> str:
        """Returns "0.013", "within 0.013" of a claim with a margin, or "nothing"."""
        widest = min(self.widest, math.log(1e6)) if self.log else self.widest
        if not detectable < widest:
            return "nothing"
        return f"{'' if self.differs else 'within '}{self._words(detectable)}"

    def _words(self, amount: float, *, add: bool = True) -> str:
        """Returns "0.013", or "a factor of 1.3" of a logarithm."""
        if self.log:
            return f"{'a factor of ' * add}{_exp(amount):.3g}"
        return f"{amount:.2g}"


def _usable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value >= 0 or not log)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _log(value: float) -> float:
    return math.log(max(value, SMALLEST))
