"""Rows of numbers that are nearest to another one."""

import numpy as np


def nearest_rows(
    query: np.ndarray, values: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions and Euclidean distances, both [count], of the rows nearest to a query.

    Args:
      query: [D].
      values: [n, D]; of equal distances the first comes first.
      count: of n rows; all of them if there are no more.
    """
    squares = [np.sum(np.square(row.astype(np.float64) - query)) for row in values]
    distances = np.sqrt(np.array(squares))
    order = np.argsort(distances, kind="stable")[:count]
    return order, distances[order]
