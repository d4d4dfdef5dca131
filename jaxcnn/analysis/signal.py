"""The size of activations and gradients in every layer of a network.

Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010, §3 and figures 6 and 7; He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015,
arXiv 1502.01852, §2.2. What their theory predicts is in `jaxcnn.analysis.variance`.

All functions are pure and work at initialisation and for any checkpoint of a training run. They are
not compiled as a whole, which would take longer than a single evaluation; for many evaluations,
`jax.jit(functools.partial(moments, model))`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jaxcnn.analysis.tracing.graph import Graph, trace
from jaxcnn.errors import UserError
from jaxcnn.layers.norm import by_batch_statistics

RECTIFIERS = ("relu", "relu6")  # activations that put out exactly zero for half of the numbers


class Moments(NamedTuple):
    """Mean and standard deviation over images, positions and channels of a layer's output.

    Attributes:
      mean: of the output.
      std: of the output.
      gradient_mean: of the gradient of an image's own loss with respect to the output.
      gradient_std: of that gradient.
    """

    mean: jax.Array
    std: jax.Array
    gradient_mean: jax.Array
    gradient_std: jax.Array

    @property
    def rms(self) -> jax.Array:
        """Root mean square of the output."""
        return jnp.hypot(self.mean, self.std)

    @property
    def gradient_rms(self) -> jax.Array:
        """Root mean square of the gradient."""
        return jnp.hypot(self.gradient_mean, self.gradient_std)


class Flow(NamedTuple):
    """All activations of a network, and the gradients with respect to them.

    Attributes:
      logits: (N, K).
      activations: outputs of all layers by name, (N, …).
      gradients: of the loss with respect to them; of image i its own loss.
      logits_gradient: (N, K).
    """

    logits: jax.Array
    activations: dict[str, jax.Array]
    gradients: dict[str, jax.Array]
    logits_gradient: jax.Array


def moments(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    labels: jax.Array,
    *,
    batch_statistics: bool = False,
) -> dict[str, Moments]:
    """Returns the moments of every layer, by the names of `Graph.nodes`, in their order.

    Args:
      model: takes (images, train).
      variables: of the model.
      images: (N, H, W, C), as the network takes them.
      labels: integers [N]. The loss is the softmax cross entropy.
      batch_statistics: normalise by the statistics of these images, as a training step does, and
        take gradients through them. Without it BatchNorm uses its running statistics. In a fresh
        network these are zero and one, so nothing would be normalised.
    """
    if batch_statistics:
        variables = with_batch_statistics(model, variables, images)
    graph = trace(model, variables, images)
    return of_flow(flow(graph, variables, images, labels, through=batch_statistics))


def of_flow(found: Flow) -> dict[str, Moments]:
    """Returns the moments of activations and gradients."""
    return {
        name: Moments(*_mean_and_std(array), *_mean_and_std(found.gradients[name]))
        for name, array in found.activations.items()
    }


def _mean_and_std(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    mean = jnp.mean(wide)
    return mean, root_mean_square(wide - mean)


def root_mean_square(array: jax.Array) -> jax.Array:
    """Returns it in at least float32; squares of very small numbers do not become zero."""
    wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    largest = jnp.max(jnp.abs(wide))
    scale = jnp.where(largest > 0, largest, 1)
    return scale * jnp.sqrt(jnp.mean(jnp.square(wide / scale)))


def flow(
    graph: Graph, variables: Any, images: jax.Array, labels: jax.Array, through: bool = False
) -> Flow:
    """Returns activations and gradients of all layers.

    Args:
      graph: of the network and these images.
      variables: of the network; the running statistics are those of the images if `through`.
      images: (N, H, W, C).
      labels: integers [N].
      through: take gradients through the statistics of BatchNorm, too.
    """
    names = [node.name for node in graph.nodes if jnp.issubdtype(node.dtype, jnp.floating)]
    rules = {"batch_norm": _through_statistics} if through else None
    zeros = {
        node.name: jnp.zeros((len(images), *node.shape), node.dtype)
        for node in graph.nodes
        if node.name in names
    }

    def loss(deltas: Mapping[str, jax.Array], shift: jax.Array | float) -> Any:
        logits, kept = graph.run(variables, images, keep=names, perturb=deltas, rules=rules)
        return _cross_entropy(logits + shift, labels), (logits, kept)

    shapes = jax.eval_shape(loss, zeros, 0.0)[1][0]
    no_shift = jnp.zeros(shapes.shape, shapes.dtype)
    (gradients, of_logits), (logits, kept) = jax.grad(loss, (0, 1), has_aux=True)(zeros, no_shift)
    return Flow(logits, {name: kept[name] for name in names}, gradients, of_logits)


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the sum over images, so that the gradient of an image is that of its own loss."""
    rows = jax.nn.log_softmax(logits.reshape(len(labels), -1, logits.shape[-1]))
    chosen = jnp.take_along_axis(rows, labels.astype(jnp.int32)[:, None, None], axis=-1)
    return -jnp.sum(chosen) / rows.shape[1]


def _through_statistics(normalise: Any, x: jax.Array) -> jax.Array:
    """Normalises by running statistics that are those of x, with the gradient of training."""
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes, keepdims=True)
    deviation = jnp.sqrt(jnp.var(x, axes, keepdims=True) + jnp.finfo(x.dtype).eps)
    fixed_mean, fixed = jax.lax.stop_gradient((mean, deviation))
    return normalise((x - mean) / deviation * fixed + fixed_mean)


def with_batch_statistics(model: nn.Module, variables: Any, images: jax.Array) -> Any:
    """Returns the variables with the running statistics of BatchNorm set to those of the images.

    Args:
      model: takes (images, train).
      variables: of the model; without BatchNorm they are returned as they are.
      images: (N, H, W, C).
    """
    if "batch_stats" not in variables:
        return variables
    if getattr(model, "scan_units", False):  # an interceptor does not reach into the loop
        model = model.clone(scan_units=False)
    with nn.intercept_methods(by_batch_statistics(lambda name: False)):
        _, updated = model.apply(variables, images, train=False, mutable=["batch_stats"])
    return {**variables, **updated}


def active_units(model: nn.Module, variables: Any, images: jax.Array) -> dict[str, jax.Array]:
    """Returns which units of every ReLU are positive for any of the images.

    The results of several batches are joined by `|`; see `dead_shares`.

    Args:
      model: takes (images, train).
      variables: of the model.
      images: (N, H, W, C).

    Returns:
      Booleans (H', W', C') or (C') by the names of the ReLUs.

    Raises:
      UserError: if the network has no ReLU.
    """
    graph = trace(model, variables, images)
    names = [node.name for node in graph.nodes if node.kind in RECTIFIERS]
    if not names:
        raise UserError("the network has no ReLU, so none of its units can be dead")
    kept = graph.run(variables, images, keep=names)[1]
    return {name: jnp.any(kept[name] > 0, axis=0) for name in names}


class DeadShare(NamedTuple):
    """Share of a ReLU's output that is never positive.

    Attributes:
      units: of all units; a unit is a channel at a position.
      channels: of the channels that are never positive at any position.
    """

    units: float
    channels: float


def dead_shares(batches: Iterable[Mapping[str, jax.Array]]) -> dict[str, DeadShare]:
    """Returns the share of dead units of every ReLU over a set of images.

    Args:
      batches: results of `active_units`, one for each batch of the set.
    """
    active: dict[str, np.ndarray] = {}
    for batch in batches:
        for name, positive in batch.items():
            found = np.asarray(positive)
            active[name] = active[name] | found if name in active else found
    return {
        name: DeadShare(
            float(1 - found.mean()), float(1 - found.reshape(-1, found.shape[-1]).any(0).mean())
        )
        for name, found in active.items()
    }


def head_gradients(
    model: nn.Module, variables: Any, images: jax.Array, labels: jax.Array
) -> dict[str, dict[str, jax.Array]]:
    """Returns what each head of a network teaches each kernel: the size of its gradient.

    A deep network gets auxiliary classifiers "to increase the gradient signal that gets propagated
    back" (Szegedy et al., "Going Deeper with Convolutions", 2014, §5). The loss of every head is
    its mean cross entropy, not weighted; recipes weight auxiliary ones by 0.3 or 0.4.

    Args:
      model: with auxiliary heads: `create_model(name, aux_heads=True)`.
      variables: of the model.
      images: (N, H, W, C).
      labels: integers [N].

    Returns:
      By head ("logits", "aux1", …) and kernel ("stage1/conv1/kernel"), the root mean square of the
      gradient; 0 where a head does not reach. Kernels of auxiliary heads are left out.

    Raises:
      UserError: if the network has no auxiliary heads.
    """
    rest = {name: tree for name, tree in variables.items() if name != "params"}

    def losses(params: Any) -> dict[str, jax.Array]:
        logits, updated = model.apply(
            {**rest, "params": params}, images, train=False, mutable=["aux"]
        )
        heads = traverse_util.flatten_dict(updated.get("aux", {}), sep="/")
        classifying = {name: one for name, one in heads.items() if one.shape == logits.shape}
        return {
            name: _cross_entropy(one, labels) / len(images)
            for name, one in {"logits": logits, **classifying}.items()
        }

    found, backward = jax.vjp(losses, variables["params"])
    if len(found) == 1:
        raise UserError("the network has no auxiliary heads: set aux_heads=True, if it has them")
    of_body = [name for node in trace(model, variables, images).nodes for name in node.parameters]
    sizes = {}
    for head in found:
        (gradient,) = backward({name: jnp.full_like(found[name], name == head) for name in found})
        flat = traverse_util.flatten_dict(gradient, sep="/")
        kernels = (name for name in of_body if name.rpartition("/")[2] == "kernel")
        sizes[head] = {name: root_mean_square(flat[name]) for name in kernels}
    return sizes
