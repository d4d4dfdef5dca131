import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.analysis.neighbours import nearest_rows


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_neighbours_are_the_nearest_rows(place, count, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, (10, 4)).astype(np.float32)  # with equal distances
    order, distances = nearest_rows(values[place], values, count)
    every = [float(np.linalg.norm(values[place] - row)) for row in values]
    np.testing.assert_allclose(distances, sorted(every)[:count], rtol=1e-6)
    assert len(set(order)) == len(order) == min(count, 10)
    np.testing.assert_allclose([every[number] for number in order], distances, rtol=1e-6)
    assert distances[0] == 0


def test_nothing_has_no_neighbours():
    order, distances = nearest_rows(np.zeros(2), np.zeros((0, 2)), 3)
    assert len(order) == len(distances) == 0
