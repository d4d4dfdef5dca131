import math

import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.evaluation.statistics import Paired, normal_quantile, paired, wilson


def test_wilson_by_its_equation_and_by_scipy():
    stats = pytest.importorskip("scipy.stats")
    for hits, count in ((0, 1), (0, 360), (351, 360), (360, 360), (5, 10), (1, 50_000)):
        low, high = wilson(hits, count)
        expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        for end in {low, high} - {0.0, 1.0}:  # the ends solve (p̂ - p)² = z² p (1 - p) / n
            gap = (hits / count - end) ** 2
            assert gap == pytest.approx(normal_quantile() ** 2 * end * (1 - end) / count)


def test_wilson_is_symmetric_wider_for_fewer_and_whole_of_none():
    low, high = wilson(7, 20)
    assert wilson(13, 20) == pytest.approx((1 - high, 1 - low))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == 0
    assert 0 < wilson(0, 20)[1] < wilson(0, 5)[1]
    assert wilson(7, 20, 0.99)[0] < low


def test_mcnemar_by_hand():
    assert Paired(80, 1, 7, 12).p_value == pytest.approx(2 * (1 + 8) / 2**8)
    assert Paired(80, 0, 5, 15).p_value == pytest.approx(2 / 2**5)
    assert Paired(80, 4, 4, 12).p_value == 1
    assert Paired(80, 0, 0, 20).p_value == 1


def test_pairs_are_counted_and_their_order_turns_the_sign():
    first = np.array([1, 1, 1, 0, 0, 1, 0], bool)
    second = np.array([1, 0, 1, 1, 0, 0, 0], bool)
    found = paired(first, second)
    assert found == (2, 2, 1, 2)
    assert found.difference == pytest.approx(-1 / 7)
    turned = paired(second, first)
    assert turned.difference == -found.difference
    assert turned.p_value == found.p_value
    low, high = found.interval()
    assert turned.interval() == pytest.approx((-high, -low))


def test_identical_classifiers_do_not_differ():
    found = paired(np.array([True, False]), np.array([True, False]))
    assert (found.difference, found.p_value) == (0, 1)
    low, high = found.interval()
    assert low == -high < 0


def test_paired_interval_by_its_equation_and_within_what_can_be():
    half = 1.959964 * math.sqrt((9 / 102 - (6 / 102) ** 2) / 102)
    expected = 6 / 102 - half, 6 / 102 + half
    assert Paired(80, 1, 7, 12).interval() == pytest.approx(expected)
    assert Paired(0, 0, 3, 0).interval()[1] <= 1


@pytest.mark.parametrize("cells", [(0.7, 0.05, 0.1, 0.15), (0.9, 0.02, 0.02, 0.06)])
def test_intervals_cover_as_often_as_they_say(cells):
    draws = np.random.default_rng(0).multinomial(200, cells, size=2000)
    truth = cells[2] - cells[1]
    covered = [low <= truth <= high for low, high in (Paired(*row).interval() for row in draws)]
    assert 0.93 < np.mean(covered) <= 0.99
    accuracy = cells[0] + cells[1]
    held = [low <= accuracy <= high for low, high in (wilson(r[0] + r[1], 200) for r in draws)]
    assert 0.93 < np.mean(held) < 0.98


def test_other_examples_are_refused():
    with pytest.raises(UserError, match="3 and 2 examples"):
        paired(np.ones(3, bool), np.ones(2, bool))
