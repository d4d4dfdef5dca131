"""Backward passes with other rules than the gradient's, from a class or from one unit.

The forward pass is the network's own. On the way back, pooled values go to the winners of the
forward pass, which is unpooling by switches; convolutions and dense layers are transposed, and
their biases play no part; BatchNorm at test time multiplies by its factors. What a ReLU does with
the signal R that comes back is the rule:

  gradient   R where x > 0                  (Simonyan et al., 2013)
  deconvnet  R where R > 0                  (Zeiler and Fergus, 2013)
  guided     R where x > 0 and R > 0        (Springenberg et al., 2014)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import Rule
from jaxcnn.attribution.targets import (
    check_classes,
    check_images,
    graph_of,
    jit_with_model,
    one_for_each,
    outside,
)
from jaxcnn.errors import UserError

RECTIFIERS = ("relu", "relu6")


class UnitProjection(NamedTuple):
    """What one unit for each image projects to the pixels.

    Attributes:
      pixels: (N, H, W, C).
      activations: of the units, (N,).
      positions: row and column of each unit in its map, int (N, 2); zeros in a layer without maps.
    """

    pixels: jax.Array
    activations: jax.Array
    positions: jax.Array


def deconvnet_relu(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Computes a rectifier; backwards a signal R becomes max(R, 0), whatever x was."""

    @jax.custom_vjp
    def rectify(x: jax.Array) -> jax.Array:
        return function(x)

    def backward(_: None, signal: jax.Array) -> tuple[jax.Array]:
        # At 1 a rectifier is the identity; what else the layer does, such as a cast, is linear.
        (back,) = jax.vjp(function, jnp.ones(x.shape, x.dtype))[1](signal)
        return (jnp.maximum(back, 0),)

    rectify.defvjp(lambda x: (function(x), None), backward)
    return rectify(x)


def guided_relu(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Computes a rectifier; backwards only positive signals pass where x was positive."""
    return _only_positive(function(x))


def identity_backward(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Computes a layer that keeps the shape; backwards the signal passes as it is."""

    @jax.custom_vjp
    def layer(x: jax.Array) -> jax.Array:
        return function(x)

    layer.defvjp(lambda x: (function(x), None), lambda _, signal: (signal.astype(x.dtype),))
    return layer(x)


RULES: Mapping[str, Mapping[str, Rule]] = {
    "deconvnet": {
        **dict.fromkeys(RECTIFIERS, deconvnet_relu),
        "local_response_norm": identity_backward,
    },
    "guided": dict.fromkeys(RECTIFIERS, guided_relu),
}


def project_class(
    method: str, model: nn.Module, variables: Any, images: Any, classes: Any
) -> jax.Array:
    """Returns what the logit of a class projects to the pixels, (N, H, W, C).

    Args:
      method: a name of `RULES`.
      model: the network.
      variables: of the network.
      images: its inputs, (N, H, W, C).
      classes: see `check_classes`.

    Raises:
      UserError: for a network without ReLU, or for images or classes of another kind.
    """
    images = check_images(images)
    classes = check_classes(model, images, classes)
    return _class_projection(model, variables, images, classes, method=method)


def project_unit(
    method: str,
    model: nn.Module,
    variables: Any,
    images: Any,
    layer: str,
    channels: Any,
    positions: Any,
) -> UnitProjection:
    """Returns what a unit of a layer projects to the pixels.

    Args:
      method: a name of `RULES`.
      model: the network.
      variables: of the network.
      images: its inputs, (N, H, W, C).
      layer: name of a node of `jaxcnn.analysis.trace`.
      channels: int (N,), or one number for all images.
      positions: row and column of the units, int (N, 2); None is the strongest unit of each map.

    Raises:
      UserError: for a network without ReLU, a layer, channel or position that there is not, or
        images of another kind.
    """
    images = check_images(images)
    shape = graph_of(model, variables, images)[layer].shape
    if len(shape) not in (1, 3):
        raise UserError(f"{layer} puts out {list(shape)} for an image: name a layer with channels")
    channels = one_for_each("channels", channels, len(images))
    if (wrong := outside(channels, shape[-1])) is not None:
        raise UserError(f"{layer} has no channel {wrong}: it has {shape[-1]}, from 0")
    if positions is not None:
        positions = _check_positions(layer, shape, positions, len(images))
    return _unit_projection(
        model, variables, images, channels, positions, layer=layer, method=method
    )


def _check_positions(layer: str, shape: tuple[int, ...], positions: Any, count: int) -> jax.Array:
    array = jnp.asarray(positions)
    if array.shape != (count, 2) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise UserError(
            f"positions are {array.dtype} {list(array.shape)}: give row and column for each of"
            f" {count} images"
        )
    size = shape[:2] if len(shape) == 3 else (1, 1)
    for axis, name in enumerate(("row", "column")):
        if (wrong := outside(array[:, axis], size[axis])) is not None:
            raise UserError(f"{layer} has no {name} {wrong}: it has {size[axis]}, from 0")
    return array


@jit_with_model("method")
def _class_projection(
    model: nn.Module, variables: Any, images: jax.Array, classes: Any, *, method: str
) -> jax.Array:
    run = _runner(method, model, variables, images)
    logits, back = jax.vjp(lambda images: run(images, ())[0], images)
    chosen = jnp.argmax(logits, axis=-1) if classes is None else classes
    return back(jax.nn.one_hot(chosen, logits.shape[-1], dtype=logits.dtype))[0]


@jit_with_model("layer", "method")
def _unit_projection(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    channels: jax.Array,
    positions: Any,
    *,
    layer: str,
    method: str,
) -> UnitProjection:
    run = _runner(method, model, variables, images)
    outputs, back = jax.vjp(lambda images: run(images, (layer,))[1][layer], images)
    count, width = len(images), outputs.shape[2] if outputs.ndim == 4 else 1
    units = outputs.reshape(count, -1, outputs.shape[-1])
    maps = jnp.take_along_axis(units, channels[:, None, None], axis=-1)[..., 0]
    if positions is None:
        places = jnp.argmax(maps, axis=-1)
        positions = jnp.stack([places // width, places % width], axis=-1)
    places = positions[:, 0] * width + positions[:, 1]
    activations = jnp.take_along_axis(maps, places[:, None], axis=-1)[:, 0]
    only = jnp.zeros_like(units).at[jnp.arange(count), places, channels].set(activations)
    return UnitProjection(back(only.reshape(outputs.shape))[0], activations, positions)


def _runner(method: str, model: nn.Module, variables: Any, images: jax.Array) -> Callable[..., Any]:
    """Returns a function of images and the names of layers that runs the network by the rules.

    Raises:
      UserError: for a network without rectifiers, in which the methods differ from the gradient.
    """
    graph = graph_of(model, variables, images)
    if not any(node.kind in RECTIFIERS for node in graph.nodes):
        raise UserError(
            f"{type(model).__name__} has no ReLU, whose backward pass {method} replaces: take"
            " another method, or make the network with act=flax.linen.relu"
        )
    return lambda images, keep: graph.run(variables, images, keep=keep, rules=RULES[method])


@jax.custom_vjp
def _only_positive(x: jax.Array) -> jax.Array:
    return x


_only_positive.defvjp(lambda x: (x, None), lambda _, signal: (jnp.maximum(signal, 0),))
