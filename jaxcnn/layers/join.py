"""Joins several paths, of which some are dropped for a mini-batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def draw_live_inputs(key: jax.Array, num_inputs: int, rate: float | jax.Array) -> jax.Array:
    """Draws which inputs of a join are kept; returns booleans (num_inputs,), at least one true.

    Each input is dropped with probability `rate`. If all are dropped, a uniformly drawn one is
    kept.
    """
    dropping, rescuing = jax.random.split(key)
    live = ~jax.random.bernoulli(dropping, rate, (num_inputs,))
    rescued = jnp.arange(num_inputs) == jax.random.randint(rescuing, (), 0, num_inputs)
    return jnp.where(jnp.any(live), live, rescued)


def join_mean(inputs: Sequence[jax.Array], live: jax.Array | None = None) -> jax.Array:
    """Averages the live inputs element by element; other inputs pass no value and no gradient.

    Args:
      inputs: arrays of one shape.
      live: booleans (len(inputs),), at least one of them true; None uses all.
    """
    if live is None:
        return sum(inputs[1:], inputs[0]) / len(inputs)
    kept = [jnp.where(live[i], x, jnp.zeros_like(x)) for i, x in enumerate(inputs)]
    return sum(kept[1:], kept[0]) / jnp.sum(live).astype(kept[0].dtype)
