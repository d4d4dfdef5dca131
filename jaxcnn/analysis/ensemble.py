"""Dropout as an ensemble: the mean over sub-networks beside the scaled network.

Dropout trains 2^n sub-networks that share their weights. At test time the whole network takes their
place, its values scaled by the probability to be kept. Flax divides by that probability in training
instead, which is the same network.

Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012,
arXiv 1207.0580: with one hidden layer and a softmax, the scaled network is the normalised geometric
mean of all sub-networks, exactly. Krizhevsky et al., "ImageNet Classification with Deep
Convolutional Neural Networks", 2012, §4.2: with more layers it is a reasonable approximation.
Srivastava et al., "Dropout", 2014, §7.5 and figure 11, compare it with the arithmetic mean over k
sampled sub-networks.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import linen as nn

from jaxcnn.errors import UserError

# (number of the dropout layer in the order of use, probability to be kept, shape) → booleans
Mask = Callable[[int, float, tuple[int, ...]], jax.Array]


class Convergence(NamedTuple):
    """How the mean over sub-networks comes near the scaled network.

    Attributes:
      members: numbers k of sub-networks [m].
      arithmetic: total variation distance between the arithmetic mean of the probabilities of the
        first k and those of the scaled network, mean over images [m]; from 0 to 1.
      geometric: the same of the normalised geometric mean [m].
      error: share of images that the arithmetic mean of k misclassifies [m]; nan without labels.
      scaled_error: the same of the scaled network; nan without labels.
    """

    members: np.ndarray
    arithmetic: np.ndarray
    geometric: np.ndarray
    error: np.ndarray
    scaled_error: float


def sub_network(model: nn.Module, variables: Any, images: jax.Array, mask: Mask) -> jax.Array:
    """Returns the logits of one sub-network, the same for all images.

    Dropout is as in training, everything else as at test time: BatchNorm uses its running
    statistics.

    Args:
      model: takes (images, train); its dropout is Flax's `Dropout` or a kind of it.
      variables: of the model.
      images: (N, H, W, C).
      mask: tells which values are kept; its shape has a 1 for the batch, and for the axes over
        which a dropout layer broadcasts.

    Raises:
      UserError: if the network drops nothing.
    """
    numbers = itertools.count()

    def drop(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if not isinstance(module, nn.Dropout) or context.method_name != "__call__":
            return call(*args, **kwargs)
        x, keep = args[0], 1.0 - module.rate
        if keep == 1:
            return x
        whole = {0, *(axis % x.ndim for axis in module.broadcast_dims)}
        shape = tuple(1 if axis in whole else size for axis, size in enumerate(x.shape))
        kept = jnp.broadcast_to(mask(next(numbers), keep, shape), x.shape)
        return jnp.where(kept, x / keep, jnp.zeros_like(x)) if keep else jnp.zeros_like(x)

    with nn.intercept_methods(drop):
        logits: Any = model.apply(variables, images, train=False)
    if next(numbers) == 0:
        raise UserError(
            "the network drops nothing, so it has no sub-networks: set its dropout_rate"
        )
    return logits


def random_mask(key: jax.Array) -> Mask:
    """Returns a mask that draws each value independently, a stream for each dropout layer."""

    def draw(number: int, keep: float, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, number), keep, shape)

    return draw


def scaled_network(model: nn.Module, variables: Any, images: jax.Array) -> jax.Array:
    """Returns the log-probabilities (N, K) of the network at test time."""
    logits: Any = model.apply(variables, images, train=False)
    return jax.nn.log_softmax(logits)


def sampled_networks(
    model: nn.Module, variables: Any, images: jax.Array, key: jax.Array, count: int
) -> jax.Array:
    """Returns the log-probabilities (count, N, K) of sampled sub-networks.

    Args:
      model: see `sub_network`.
      variables: of the model.
      images: (N, H, W, C).
      key: of the draws.
      count: how many; they are computed one after another.

    Raises:
      UserError: if the network drops nothing.
    """

    def one(key: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(sub_network(model, variables, images, random_mask(key)))

    return jax.lax.map(one, jax.random.split(key, count))


def arithmetic_mean(log_probabilities: npt.ArrayLike) -> np.ndarray:
    """Returns the mean of probabilities (N, K), from the logarithms (S, N, K) of S networks."""
    return np.mean(np.exp(np.asarray(log_probabilities)), axis=0)


def geometric_mean(log_probabilities: npt.ArrayLike) -> np.ndarray:
    """Returns the normalised geometric mean (N, K) of probabilities, from logarithms (S, N, K)."""
    mean = np.mean(np.asarray(log_probabilities), axis=0)
    product = np.exp(mean - np.max(mean, axis=-1, keepdims=True))
    return product / np.sum(product, axis=-1, keepdims=True)


def convergence(
    log_probabilities: npt.ArrayLike,
    scaled: npt.ArrayLike,
    members: Sequence[int],
    labels: npt.ArrayLike | None = None,
) -> Convergence:
    """Compares the means over the first k sub-networks with the scaled network.

    Args:
      log_probabilities: of sub-networks (S, N, K).
      scaled: log-probabilities of the scaled network (N, K).
      members: the numbers k, each from 1 to S.
      labels: integers [N], for the errors.
    """
    networks, whole = np.asarray(log_probabilities), np.exp(np.asarray(scaled))
    means = [arithmetic_mean(networks[:k]) for k in members]
    products = [geometric_mean(networks[:k]) for k in members]
    return Convergence(
        np.array(members),
        np.array([_distance(mean, whole) for mean in means]),
        np.array([_distance(mean, whole) for mean in products]),
        np.array([_error(mean, labels) for mean in means]),
        _error(whole, labels),
    )


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the total variation distance, mean over images, of probabilities (N, K)."""
    return float(np.mean(np.sum(np.abs(first - second), axis=-1)) / 2)


def _error(probabilities: np.ndarray, labels: npt.ArrayLike | None) -> float:
    if labels is None:
        return math.nan
    return float(np.mean(np.argmax(probabilities, axis=-1) != np.asarray(labels)))
