"""Training objectives: functions that return one loss per example."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from jaxcnn.errors import UserError, nearest
from jaxcnn.training.fields import LossConfig

# (logits [N, K], collection `aux` of the network, labels [N] or soft labels [N, K], finished share
# of the run in [0, 1)) → losses [N]
Objective = Callable[[jax.Array, Any, jax.Array, jax.typing.ArrayLike], jax.Array]
HeadLoss = Callable[[jax.Array, jax.Array], jax.Array]  # (logits [N, K], labels) → losses [N]


def one_hot(labels: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns label distributions shaped like `logits` [N, K]; returns labels [N, K] unchanged."""
    if labels.ndim == logits.ndim:
        return labels.astype(logits.dtype)
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def mixed_labels(
    labels: jax.Array, partners: jax.Array, shares: jax.Array, logits: jax.Array
) -> jax.Array:
    """Returns the label distributions of mixed images, λ·label + (1 - λ)·partner.

    Their cross-entropy is λ·(cross-entropy of label) + (1 - λ)·(cross-entropy of partner).

    Args:
      labels: integers [N].
      partners: integers [N], labels of the other images.
      shares: λ [N].
      logits: [N, K], give K and the dtype.
    """
    own = shares[:, None].astype(logits.dtype)
    return own * one_hot(labels, logits) + (1 - own) * one_hot(partners, logits)


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Returns softmax cross-entropy with label smoothing ("Rethinking the Inception", §7, eq. 4).

    Args:
      logits: [N, K], at least float32.
      labels: integers [N], or distributions [N, K].
      smoothing: ε in q' = (1-ε)·q + ε/K.

    Returns:
      Losses [N] in nats.
    """
    targets = optax.smooth_labels(one_hot(labels, logits), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def squared_hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the one-against-all squared hinge loss ("Deeply-Supervised Nets", §2.2 and its code).

    Returns:
      Losses [N]: Σ_k max(0, 1 - t_k·f_k)², where t is 1 for the label and -1 for other classes.
    """
    signs = 2 * one_hot(labels, logits) - 1
    return jnp.sum(jnp.maximum(0, 1 - signs * logits) ** 2, axis=-1)


def squared_error(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns half the squared error to the one-hot label, or to real-valued `labels` [N, K].

    Returns:
      Losses [N]: Σ_k (f_k - t_k)² / 2.
    """
    return jnp.sum((logits - one_hot(labels, logits)) ** 2, axis=-1) / 2


def rbf_mse(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns LeNet-5's first criterion (eq. 8): the distance y to the code of the right class.

    Args:
      logits: [N, K], negated distances.
      labels: integers [N], or distributions [N, K].
    """
    return -jnp.sum(one_hot(labels, logits) * logits, axis=-1)


def rbf_map(logits: jax.Array, labels: jax.Array, rubbish: float = 0.1) -> jax.Array:
    """Returns LeNet-5's second, discriminative criterion (eq. 9): y + log(e^-j + Σ_i e^-y_i).

    Args:
      logits: [N, K], negated distances y.
      labels: integers [N], or distributions [N, K].
      rubbish: j, the distance to the class of images that show no digit. The paper only says that j
        is positive; this value is ours.
    """
    background = jnp.full_like(logits[:, :1], -rubbish)
    everything = jax.nn.logsumexp(jnp.concatenate([logits, background], axis=-1), axis=-1)
    return rbf_mse(logits, labels) + everything


# The names are also in `fields.LOSSES`; a test compares them.
LOSSES: dict[str, HeadLoss] = {
    "cross_entropy": cross_entropy,
    "squared_hinge": squared_hinge,
    "squared_error": squared_error,
    "rbf_mse": rbf_mse,
    "rbf_map": rbf_map,
}
# Losses that are linear in the label distribution, up to a constant.
MIXABLE = ("cross_entropy", "squared_error", "rbf_mse", "rbf_map")


def make_head_loss(name: str = "cross_entropy", smoothing: float = 0.0) -> HeadLoss:
    """Returns the loss of one head; the main head's loss is the main term of the objective.

    Args:
      name: one of `LOSSES`.
      smoothing: label smoothing, for cross-entropy only.

    Raises:
      UserError: if the loss is unknown, or smoothing is set for another loss.
    """
    if name not in LOSSES:
        raise UserError(f"no loss.name {name!r}: {nearest(name, LOSSES)}")
    if smoothing and name != "cross_entropy":
        raise UserError(f"loss.label_smoothing={smoothing} needs loss.name=cross_entropy")
    return partial(cross_entropy, smoothing=smoothing) if smoothing else LOSSES[name]


def balanced_weights(counts: npt.ArrayLike) -> tuple[float, ...]:
    """Returns class weights with which all classes count alike, and the mean example as before.

    They are n / (k·n_c) for n examples, n_c of them of the class, and k classes that have examples,
    as `class_weight="balanced"` in scikit-learn. Classes without examples have weight 0.

    Args:
      counts: n_c, [K].
    """
    counts = np.asarray(counts, np.float64)
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return tuple(np.where(counts > 0, weights, 0).tolist())


def example_weights(weights: Sequence[float], logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the weights [N] of examples: those of their classes, or means over soft labels.

    Args:
      weights: of the classes, [K].
      logits: [N, K], give K and the dtype.
      labels: integers [N], or distributions [N, K].

    Raises:
      UserError: if there is not one weight for each class.
    """
    if len(weights) != logits.shape[-1]:
        raise UserError(
            f"loss.class_weights has {len(weights)} numbers and the data have"
            f" {logits.shape[-1]} classes: give one for each"
        )
    return one_hot(labels, logits) @ jnp.asarray(weights, logits.dtype)


def make_objective(
    config: LossConfig, *, mixed: bool = False, class_weights: Sequence[Any] = ()
) -> Objective:
    """Returns the main head's loss plus the losses in collection `aux`, a tree of any structure.

    A leaf [N, K] in `aux` holds the logits of an auxiliary head and adds α·max(0, loss - γ) of the
    same loss ("Deeply-Supervised Nets", eq. 3), with α = `aux_weight` and γ = `aux_threshold`. A
    leaf [N] is a cost from the network, such as a Ladder network's denoising cost, added unchanged.

    Label -1 marks an unlabelled example, whose head losses are 0. The head losses of labelled
    examples are scaled by N over their number, so the mean over the batch equals the mean over
    labelled examples (except for the share of unreadable images).

    Class weights multiply the head losses of an example by the weight of its class. The sum is not
    divided by the sum of the weights.

    Args:
      config: the section `loss`.
      mixed: whether labels come from `mixed_labels`.
      class_weights: numbers [K]; () weights all classes alike.

    Raises:
      UserError: if the loss does not support smoothing or mixed labels.
    """
    head_loss = make_head_loss(config.name, config.label_smoothing)
    if mixed and config.name not in MIXABLE:
        raise UserError(
            f"loss.name={config.name} has no meaning for mixed labels: take"
            f" {' or '.join(MIXABLE)}, or set data.mixup and data.cutmix to 0"
        )

    def objective(
        logits: jax.Array, aux: Any, labels: jax.Array, progress: jax.typing.ArrayLike
    ) -> jax.Array:
        fades = config.aux_decay == "linear"
        weight = config.aux_weight * (1 - progress) if fades else config.aux_weight
        loss, own = head_loss(logits, labels), jnp.zeros(())
        for leaf in jax.tree.leaves(aux):
            if leaf.ndim == 1:
                own = own + leaf
            else:
                loss = loss + weight * jnp.maximum(
                    head_loss(leaf, labels) - config.aux_threshold, 0
                )
        if class_weights:
            loss = loss * example_weights(class_weights, logits, labels)
        if labels.ndim == 1:
            labelled = labels >= 0
            scale = labels.size / jnp.maximum(jnp.sum(labelled), 1)
            loss = jnp.where(labelled, loss * scale.astype(loss.dtype), 0)
        return loss + own

    return objective
