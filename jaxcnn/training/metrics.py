"""Counts the correct predictions of a classifier."""

import jax
import jax.numpy as jnp


def top_k_hits(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Returns whether the label is among the k highest scores.

    Ties are broken as in a stable sort, so constant scores are not always a hit. A NaN score is
    never a hit.

    Args:
      logits: [N, K].
      labels: integers [N].
      k: 1 or more, clipped to K.

    Returns:
      Booleans [N].
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1])[None, :] < labels[:, None]
    ahead = jnp.sum((logits > own) | ((logits == own) & earlier), axis=-1)
    return (ahead < k) & ~jnp.any(jnp.isnan(logits), axis=-1)


def classification_sums(
    logits: jax.Array, losses: dict[str, jax.Array], labels: jax.Array, weights: jax.Array
) -> dict[str, jax.Array]:
    """Returns weighted sums over a batch: each loss, hits `top1` and `top5`, `count`; scalars."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(weights > 0, values * weights, 0.0))

    return {
        **{name: total(values) for name, values in losses.items()},
        "top1": total(top_k_hits(logits, labels, 1)),
        "top5": total(top_k_hits(logits, labels, 5)),
        "count": jnp.sum(weights),
    }
