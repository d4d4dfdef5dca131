"""Orders the examples of a training stream, and pairs neighbours in a batch."""

import functools

import numpy as np

from jaxcnn.data.dataset import random_bits, random_order


@functools.lru_cache(maxsize=8)  # batches cross epochs of two streams; threads read ahead
def _epoch_order(num_examples: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    return random_order(num_examples, random_bits((seed, epoch), stream=stream))


@functools.lru_cache(maxsize=8)
def neighbours(examples: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the example and the view of each row of a batch, int [examples * repeats].

    Rows 2j and 2j + 1 are neighbours. An example is never its own neighbour, and has another
    neighbour in each view while there are others. An even number of examples is paired by the
    circle method of tournaments. An odd number is paired over two views at a time: examples i and i
    + d are paired, with another distance d each time.
    """
    if repeats == 1:
        return np.arange(examples), np.zeros(examples, int)
    if examples % 2 and repeats % 2 == 0:
        circle = np.arange(examples)
        distances = 1 + np.arange(repeats // 2) % max(1, examples // 2)
        meetings = [np.stack([circle, (circle + d) % examples], axis=1) for d in distances]
        row = np.concatenate(meetings).reshape(-1)
        # The k-th occurrence of an example is its view k.
        repeat = np.empty_like(row)
        repeat[np.argsort(row, kind="stable")] = np.tile(np.arange(repeats), examples)
        return row, repeat
    orders = [np.arange(examples)] * repeats  # an odd number of rows: no pairs
    if examples % 2 == 0:
        last, far = examples - 1, np.arange(1, examples // 2)
        orders = []
        for turn in np.arange(repeats) % last:
            pairs = np.stack([turn + far, turn - far], axis=1).reshape(-1) % last
            orders.append(np.concatenate([[last, turn], pairs]))
    place = np.argsort(orders[0])  # the first view keeps the order of the epoch
    row = np.concatenate([place[order] for order in orders])
    return row, np.repeat(np.arange(repeats), examples)


def in_order(
    position: np.ndarray, num_examples: int, seed: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns example and epoch, int [b], at positions of an endless stream."""
    epoch, offset = np.divmod(position, num_examples)
    index = np.empty_like(offset)
    for number in np.unique(epoch):
        here = epoch == number
        index[here] = _epoch_order(num_examples, seed, int(number), stream)[offset[here]]
    return index, epoch
