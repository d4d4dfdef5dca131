"""The number that a map explains: a network's score of one class for each image."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import Graph, trace
from jaxcnn.errors import UserError, nearest

# What may be explained: functions of logits (N, K).
SCORES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "logit": lambda logits: logits,
    "log_probability": jax.nn.log_softmax,
    "probability": jax.nn.softmax,
}

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, eq=False)
class _Static:
    """A network as a static argument of `jax.jit`; one that has no hash is equal to itself only."""

    model: nn.Module

    def __hash__(self) -> int:
        try:
            return hash(self.model)
        except TypeError:
            return id(self.model)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or hash(self) != hash(other):
            return False
        return self.model is other.model or self.model == other.model


def jit_with_model(*static: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Compiles a function (model, *arrays, **settings) once for each network and its settings.

    Args:
      *static: names of the keyword arguments that are no arrays.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        def with_static(held: _Static, *arrays: Any, **settings: Any) -> Result:
            return function(held.model, *arrays, **settings)

        compiled = jax.jit(with_static, static_argnums=0, static_argnames=static)

        @wraps(function)
        def call(model: nn.Module, *arrays: Any, **settings: Any) -> Result:
            return compiled(_Static(model), *arrays, **settings)

        return call

    return decorate


def check_images(images: Any) -> jax.Array:
    """Returns the inputs of a network as an array.

    Raises:
      UserError: if they are not of rank 4 or hold whole numbers.
    """
    array = jnp.asarray(images)
    if array.ndim != 4 or not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(
            f"images are {array.dtype} {list(array.shape)}: give the network's inputs, normalised,"
            " float32 [N, H, W, C]"
        )
    return array


def check_classes(model: nn.Module, images: jax.Array, classes: Any) -> jax.Array | None:
    """Returns the class of each image, int (N,), or None for the likeliest.

    Args:
      model: if it has a field `num_classes`, classes must be below.
      images: (N, H, W, C).
      classes: None, one whole number for all images, or one for each.

    Raises:
      UserError: for another shape, for no whole numbers, or for a class that there is not.
    """
    if classes is None:
        return None
    array = one_for_each("classes", classes, len(images))
    known = getattr(model, "num_classes", 0)
    if known and (wrong := outside(array, known)) is not None:
        raise UserError(f"there is no class {wrong}: the network has {known}, from 0")
    return array


def one_for_each(name: str, numbers: Any, count: int) -> jax.Array:
    """Returns a whole number for each image, int (N,).

    Raises:
      UserError: if they are neither one whole number nor `count` of them.
    """
    array = jnp.asarray(numbers)
    if array.shape not in ((), (count,)) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise UserError(
            f"{name} are {array.dtype} {list(array.shape)}: give one whole number for each of"
            f" {count} images, or one for all"
        )
    return jnp.broadcast_to(array, (count,))


def outside(numbers: jax.Array, end: int) -> int | None:
    """Returns the first number that is not in range(end), if their values are known by now."""
    if isinstance(numbers, jax.core.Tracer):
        return None
    return next((one for one in np.ravel(numbers).tolist() if not 0 <= one < end), None)


def check_score(score: str) -> None:
    """Checks a name of `SCORES`.

    Raises:
      UserError: naming the nearest.
    """
    if score not in SCORES:
        raise UserError(f"no score {score!r}: {nearest(score, SCORES)}")


def graph_of(model: nn.Module, variables: Any, images: jax.Array) -> Graph:
    """Returns the graph of a network for images of this shape; nothing is computed."""
    return trace(model, variables, jax.ShapeDtypeStruct(images.shape, images.dtype))


def logits_of(model: nn.Module, variables: Any, images: jax.Array) -> jax.Array:
    """Returns the logits at test time, (N, K).

    Raises:
      UserError: if the network returns something else.
    """
    logits: Any = model.apply(variables, images, train=False)
    if getattr(logits, "ndim", 0) != 2:
        shapes = [list(leaf.shape) for leaf in jax.tree.leaves(logits)]
        raise UserError(f"the network returns {shapes}: attribution needs logits [N, classes]")
    return logits


def likeliest(model: nn.Module, variables: Any, images: jax.Array, classes: Any) -> jax.Array:
    """Returns the given classes, int (N,); if they are None, those of the largest logits."""
    if classes is not None:
        return classes
    return jnp.argmax(logits_of(model, variables, images), axis=-1)


def pick(logits: jax.Array, classes: jax.Array, score: str = "logit") -> jax.Array:
    """Returns the score of one class for each image, (N,).

    Args:
      logits: (N, K).
      classes: int (N,); NaN is the score of a class that there is not.
      score: a name of `SCORES`.
    """
    values = SCORES[score](logits)
    return jnp.take_along_axis(values, classes[:, None], axis=-1, mode="fill")[:, 0]
