"""What a step minimises: one number per example."""

from collections.abc import Callable
from typing import Any

import jax
import optax

# (logits [N, K], auxiliary logits, each [N, K], labels [N] or soft [N, K]) → losses [N]
Objective = Callable[[jax.Array, Any, jax.Array], jax.Array]


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy with label smoothing ("Rethinking the Inception", §7, eq. 4).

    Args:
      logits: [N, K], at least float32.
      labels: integers [N], or distributions [N, K].
      smoothing: ε in q' = (1-ε)·q + ε/K.

    Returns:
      Losses [N] in nats.
    """
    if labels.ndim == logits.ndim:
        targets = labels.astype(logits.dtype)
    else:
        targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, smoothing))


def make_objective(smoothing: float = 0.0, aux_weight: float = 0.0) -> Objective:
    """Cross-entropy of the main head plus `aux_weight` times that of each auxiliary head.

    Auxiliary logits come in as any tree, as modules sow them into collection `aux`.
    """

    def objective(logits: jax.Array, aux: Any, labels: jax.Array) -> jax.Array:
        loss = cross_entropy(logits, labels, smoothing)
        for head in jax.tree.leaves(aux):
            loss = loss + aux_weight * cross_entropy(head, labels, smoothing)
        return loss

    return objective
