"""What a step minimises: one number per example."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.config import spec
from jaxcnn.errors import UserError, nearest

# (logits [N, K], what the network put into `aux`, labels [N] or soft [N, K], share of the run that
# is over, in [0, 1)) → losses [N]
Objective = Callable[[jax.Array, Any, jax.Array, jax.typing.ArrayLike], jax.Array]
HeadLoss = Callable[[jax.Array, jax.Array], jax.Array]  # (logits [N, K], labels) → losses [N]


def one_hot(labels: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns distributions like `logits` [N, K]; labels [N, K] are distributions already."""
    if labels.ndim == logits.ndim:
        return labels.astype(logits.dtype)
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def mixed_labels(
    labels: jax.Array, partners: jax.Array, shares: jax.Array, logits: jax.Array
) -> jax.Array:
    """Returns the distributions of mixed images, λ·label + (1 - λ)·partner.

    The cross-entropy of them is that of the label times λ plus that of the partner times 1 - λ.

    Args:
      labels: integers [N].
      partners: integers [N].
      shares: λ [N].
      logits: [N, K], for K and the dtype.
    """
    own = shares[:, None].astype(logits.dtype)
    return own * one_hot(labels, logits) + (1 - own) * one_hot(partners, logits)


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy with label smoothing ("Rethinking the Inception", §7, eq. 4).

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
    """Every class against all others ("Deeply-Supervised Nets", §2.2, as its code has it).

    Returns:
      Losses [N]: Σ_k max(0, 1 - t_k·f_k)², where t is 1 for the label and -1 for other classes.
    """
    signs = 2 * one_hot(labels, logits) - 1
    return jnp.sum(jnp.maximum(0, 1 - signs * logits) ** 2, axis=-1)


def squared_error(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Linear regression onto the one-hot label, or onto `labels` [N, K] of any real numbers.

    Returns:
      Losses [N]: Σ_k (f_k - t_k)² / 2.
    """
    return jnp.sum((logits - one_hot(labels, logits)) ** 2, axis=-1) / 2


def rbf_mse(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """LeNet-5's first criterion (eq. 8): the distance y to the right class's code.

    Args:
      logits: [N, K]; minus the distances.
      labels: integers [N], or distributions [N, K].
    """
    return -jnp.sum(one_hot(labels, logits) * logits, axis=-1)


def rbf_map(logits: jax.Array, labels: jax.Array, rubbish: float = 0.1) -> jax.Array:
    """LeNet-5's second, discriminative criterion (eq. 9): y + log(e^-j + Σ_i e^-y_i).

    Args:
      logits: [N, K]; minus the distances y.
      labels: integers [N], or distributions [N, K].
      rubbish: j, the distance to a class of everything that is no digit. The paper says that it is
        positive; the value is ours.
    """
    background = jnp.full_like(logits[:, :1], -rubbish)
    everything = jax.nn.logsumexp(jnp.concatenate([logits, background], axis=-1), axis=-1)
    return rbf_mse(logits, labels) + everything


LOSSES: dict[str, HeadLoss] = {
    "cross_entropy": cross_entropy,
    "squared_hinge": squared_hinge,
    "squared_error": squared_error,
    "rbf_mse": rbf_mse,
    "rbf_map": rbf_map,
}
AUX_DECAYS = ("none", "linear")
# Those of a distribution are those of its labels in the same proportion, up to a constant.
MIXABLE = ("cross_entropy", "squared_error", "rbf_mse", "rbf_map")


@dataclasses.dataclass(frozen=True)
class LossConfig(spec.Section):
    """Section `loss`: the objective of training."""

    name: str = spec.field("cross_entropy", " | ".join(LOSSES), spec.choice(*LOSSES))
    label_smoothing: float = spec.field(
        0.0, "share of the label spread over all classes", spec.decay
    )
    aux_weight: float = spec.field(
        0.3, "weight of the loss of each auxiliary head", spec.real(0, 1000)
    )
    aux_threshold: float = spec.field(
        0.0, "loss below which an auxiliary head is ignored", spec.real(0, 1000)
    )
    aux_decay: str = spec.field(
        "none",
        "none | linear: the weight of auxiliary heads falls to zero over the run",
        spec.choice(*AUX_DECAYS),
    )


def make_head_loss(name: str = "cross_entropy", smoothing: float = 0.0) -> HeadLoss:
    """Returns the loss of one head; that of the main head is the main term of the objective.

    Args:
      name: one of `LOSSES`.
      smoothing: of labels, for cross-entropy.

    Raises:
      UserError: for an unknown loss, or smoothing of another one.
    """
    if name not in LOSSES:
        raise UserError(f"no loss.name {name!r}: {nearest(name, LOSSES)}")
    if smoothing and name != "cross_entropy":
        raise UserError(f"loss.label_smoothing={smoothing} needs loss.name=cross_entropy")
    return partial(cross_entropy, smoothing=smoothing) if smoothing else LOSSES[name]


def make_objective(config: LossConfig, *, mixed: bool = False) -> Objective:
    """Loss of the main head plus the losses of the heads in collection `aux`, any tree.

    An auxiliary leaf [N, K] is the logits of a further head: it adds α·max(0, loss - γ), the same
    loss ("Deeply-Supervised Nets", eq. 3), α being `aux_weight` and γ `aux_threshold`. A leaf [N]
    is a cost of the network's own, such as a Ladder network's denoising, and is added as it is.

    Examples with label -1 are unlabelled: they have no loss of a head, and those of the others are
    scaled by N over their number, so that the mean over the batch is the mean over them (but for
    the share of images that cannot be read, if there are any).

    Args:
      config: of the section `loss`.
      mixed: whether labels are going to be those of `mixed_labels`.

    Raises:
      UserError: for smoothing or mixed labels where they mean nothing.
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
        if labels.ndim == 1:
            labelled = labels >= 0
            scale = labels.size / jnp.maximum(jnp.sum(labelled), 1)
            loss = jnp.where(labelled, loss * scale.astype(loss.dtype), 0)
        return loss + own

    return objective
