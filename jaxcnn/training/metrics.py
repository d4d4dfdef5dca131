"""Counts the correct predictions of a classifier."""

import jax
import jax.numpy as jnp


def top_k_hits(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """True where the label is among the k highest scores.

    Ties count as a stable sort would rank them, so equal scores are no hit for everyone; a score
    that is not a number is never a hit.

    Args:
      logits: [N, K].
      labels: integers [N].
      k: 1 or more; at most K classes are looked at.

    Returns:
      Bools [N].
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1])[None, :] < labels[:, None]
    ahead = jnp.sum((logits > own) | ((logits == own) & earlier), axis=-1)
    return (ahead < k) & ~jnp.any(jnp.isnan(logits), axis=-1)


def classification_sums(
    logits: jax.Array, losses: dict[str, jax.Array], labels: jax.Array, weights: jax.Array
) -> dict[str, jax.Array]:
    """Returns weighted sums over a batch: of each loss, `top1`, `top5` (hits), `count`; scalars."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(weights > 0, values * weights, 0.0))

    return {
        **{name: total(values) for name, values in losses.items()},
        "top1": total(top_k_hits(logits, labels, 1)),
        "top5": total(top_k_hits(logits, labels, 5)),
        "count": jnp.sum(weights),
    }
