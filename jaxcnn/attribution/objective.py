"""What an image shall excite: a class, a map, one unit of it, or a direction."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import Graph, Node, trace
from jaxcnn.errors import UserError


@dataclasses.dataclass(frozen=True)
class Objective:
    """What an image shall excite.

    `Objective(3)` is the logit of class 3, `Objective(5, "stage2/relu")` the mean of map 5 of a
    layer, `Objective(5, "stage2/relu", (4, 4))` one unit of that map. A direction takes the place
    of a channel: it is the weight of each channel.

    Attributes:
      channel: number of the class, or of the map or unit of a layer.
      node: name of a layer of `jaxcnn.analysis.tracing.graph`; "" is the logits.
      position: (row, column) of one unit; None is the mean over the map.
      direction: weights, as many as there are channels; replaces `channel`.
    """

    channel: int | None = None
    node: str = ""
    position: tuple[int, int] | None = None
    direction: tuple[float, ...] | None = None


def resolve(
    model: nn.Module, variables: Any, objectives: Sequence[Objective], shape: Sequence[int]
) -> tuple[str, jax.Array, jax.Array]:
    """Returns the layer of objectives, and as arrays the channels and the positions.

    Args:
      model: the network.
      variables: of the network.
      objectives: N of one layer.
      shape: (N, H, W, C) of the images.

    Returns:
      the name of the layer, the weight of each channel [N, C], and the positions int32 [N, 2], -1
      for the mean over the map.

    Raises:
      UserError: for no objectives, objectives of several layers, or one that does not exist.
    """
    if not objectives or len(objectives) != shape[0]:
        raise UserError(f"{len(objectives)} objectives for {shape[0]} images: give one for each")
    names = {objective.node for objective in objectives}
    if len(names) > 1:
        listed = ", ".join(sorted(name or "the logits" for name in names))
        raise UserError(f"objectives of several layers ({listed}): give those of one layer")
    graph = trace(model, variables, jax.ShapeDtypeStruct(tuple(shape), jnp.float32))
    name = names.pop() or graph.output
    node = graph[name]
    if len(node.shape) not in (1, 3):
        raise UserError(f"{name} has no channels: its output is {list(node.shape)}")
    weights = np.stack([_weights(objective, node) for objective in objectives])
    places = [objective.position or (-1, -1) for objective in objectives]
    return name, jnp.asarray(weights, jnp.float32), jnp.asarray(places, jnp.int32)


def _weights(objective: Objective, node: Node) -> np.ndarray:
    """Returns the weight of each channel, float64 [C], of an objective that the layer has."""
    channels = node.shape[-1]
    if (objective.channel is None) == (objective.direction is None):
        raise UserError(f"an objective of {node.name} needs a channel or a direction, and not both")
    if objective.position is not None:
        size = node.shape[:-1] or (1, 1)
        if not all(0 <= at < side for at, side in zip(objective.position, size, strict=True)):
            sides = "x".join(map(str, size))
            raise UserError(
                f"{node.name} has no unit at {objective.position}: its maps are {sides}"
            )
    if objective.direction is not None:
        if len(objective.direction) != channels:
            raise UserError(
                f"a direction of {len(objective.direction)} numbers for {node.name}: it has"
                f" {channels} channels"
            )
        return np.array(objective.direction)
    if not 0 <= (objective.channel or 0) < channels:
        raise UserError(f"{node.name} has no channel {objective.channel}: 0 to {channels - 1}")
    return np.eye(channels)[objective.channel]


def activation(
    graph: Graph,
    variables: Any,
    images: jax.Array,
    node: str,
    weights: jax.Array,
    places: jax.Array,
    rules: dict[str, Callable[..., jax.Array]] | None = None,
) -> jax.Array:
    """Returns how strongly each image excites its objective, [N].

    Args:
      graph: of the network, for these images.
      variables: of the network.
      images: [N, H, W, C].
      node: see `resolve`.
      weights: see `resolve`.
      places: see `resolve`.
      rules: see `Graph.run`.
    """
    values = graph.run(variables, images, keep=(node,), rules=rules)[1][node]
    if values.ndim == 4:
        units = values[jnp.arange(len(values)), places[:, 0], places[:, 1]]
        values = jnp.where(places[:, :1] < 0, jnp.mean(values, axis=(1, 2)), units)
    return jnp.sum(weights.astype(values.dtype) * values, axis=-1)
