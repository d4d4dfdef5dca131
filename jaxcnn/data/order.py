"""The order in which a training stream takes its examples, and their neighbours in a batch."""

import functools

import numpy as np

from jaxcnn.data.dataset import random_bits, random_order


@functools.lru_cache(maxsize=8)  # a batch may cross epochs of two streams; threads read ahead
def _epoch_order(num_examples: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    return random_order(num_examples, random_bits((seed, epoch), stream=stream))


@functools.lru_cache(maxsize=8)
def neighbours(examples: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the example and the view of each row of a batch, int [examples * repeats].

    Rows 2j and 2j + 1 are neighbours. No example is its own, and it meets another one in each of
    its views, as long as there are others. An even number of examples meets as the players of a
    tournament do (the circle method). Of an odd number there are pairs over two views at a time:
    of all examples i and i + d, the distance d being another one each time.
    """
    if repeats == 1:
        return np.arange(examples), np.zeros(examples, int)
    if examples % 2 and repeats % 2 == 0:
        circle = np.arange(examples)
        distances = 1 + np.arange(repeats // 2) % max(1, examples // 2)
        meetings = [np.stack([circle, (circle + d) % examples], axis=1) for d in distances]
        row = np.concatenate(meetings).reshape(-1)
        # The k-th time that an example comes is its view k.
        repeat = np.empty_like(row)
        repeat[np.argsort(row, kind="stable")] = np.tile(np.arange(repeats), examples)
        return row, repeat
    orders = [np.arange(examples)] * repeats  # of an odd number of rows, which are no pairs
    if examples % 2 == 0:
        last, far = examples - 1, np.arange(1, examples // 2)
        orders = []
        for turn in np.arange(repeats) % last:
            pairs = np.stack([turn + far, turn - far], axis=1).reshape(-1) % last
            orders.append(np.concatenate([[last, turn], pairs]))
    place = np.argsort(orders[0])  # so that the first view is in the order of the epoch
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
