"""Local response normalisation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.named_scope("local_response_norm")
def local_response_norm(
    x: jax.Array,
    size: int = 5,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
    alpha_over_n: bool = False,
) -> jax.Array:
    """Divides each value by (k + α·Σ a²)^β over `size` neighbouring channels.

    Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    §3.3; the defaults are the paper's.

    Args:
      x: (…, C).
      size: n, number of channels in the sum, centred; floor(n/2) on either side.
      k: constant added to the sum.
      alpha: factor of the sum of squares.
      beta: exponent.
      alpha_over_n: whether to divide α by n, as in Caffe and torch.

    Returns:
      Array of the same shape and dtype.
    """
    reach = size // 2
    wide = jnp.promote_types(x.dtype, jnp.float32)
    window = (1,) * (x.ndim - 1) + (2 * reach + 1,)
    pads = ((0, 0),) * (x.ndim - 1) + ((reach, reach),)
    squares = jnp.square(x.astype(wide))
    # NumPy's zero: with a traced one, JAX does not recognise a sum, which has a gradient.
    sums = jax.lax.reduce_window(
        squares, np.zeros((), wide), jax.lax.add, window, (1,) * x.ndim, pads
    )
    factor = alpha / size if alpha_over_n else alpha
    return (x * (k + factor * sums) ** -beta).astype(x.dtype)


def response_norm(lrn: Any) -> Callable[[jax.Array], jax.Array] | None:
    """Returns the normalisation that a network's field `lrn` stands for.

    Args:
      lrn: True is `local_response_norm` with the paper's constants; (size, k, alpha, beta) are
        other constants, alpha not divided by the size; False and None are none; a function is
        itself.
    """
    if lrn is True:
        return local_response_norm
    if callable(lrn):
        return lrn
    if not lrn:
        return None
    size, k, alpha, beta = lrn
    return partial(local_response_norm, size=size, k=k, alpha=alpha, beta=beta)
