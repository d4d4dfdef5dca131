"""Images that excite a unit, a map, a direction or a class most: activation maximisation.

Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep Network", 2009,
§3.1: gradient ascent on the activation of a unit, over images of one norm. Simonyan, Vedaldi and
Zisserman, "Deep Inside Convolutional Networks", 2013, eq. 1: the logit of a class minus an L2
penalty. `maximize_pixels` is these two. The images look like noise: the network responds to high
frequencies that no photograph has.

Olah, Mordvintsev and Schubert, "Feature Visualization", Distill, 2017: the same ascent, by Adam, on
Fourier coefficients of decorrelated colours, with a random shift, enlargement and rotation at each
step. `maximize` is this one.

Ours: one affine map does the shift, the enlargement and the rotation. At first the gradient of a
ReLU lets a tenth through where the ReLU is off, since a unit that is off at the start has no
gradient.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy.typing as npt
import optax
from flax import linen as nn

from jaxcnn.analysis.tracing.graph import trace
from jaxcnn.attribution.objective import Objective, activation, resolve
from jaxcnn.attribution.parametrization import (
    correlate_colors,
    fourier_to_images,
    total_variation,
    warp,
)
from jaxcnn.attribution.targets import jit_with_model
from jaxcnn.errors import UserError, nearest

PARAMETRIZATIONS = ("fourier", "pixels")
LEAK, LEAKING_STEPS = 0.1, 16  # of the gradient of a ReLU that is off; steps that it lasts
START = 0.01  # standard deviation of the first parameters


@dataclasses.dataclass(frozen=True)
class Ascent:
    """How an image is improved.

    Attributes:
      steps: of Adam.
      learning_rate: of Adam.
      parametrization: "fourier" or "pixels".
      decorrelate: optimise decorrelated colours; see `color_matrix`.
      decay: power of 1/f that scales the Fourier coefficients.
      jitter: largest shift, as a share of the longer side.
      scale: smallest and largest enlargement.
      rotate: largest angle in degrees.
      l2: weight of the mean square difference to grey, pixels being 0 to 1.
      tv: weight of the mean absolute difference of neighbouring pixels.
    """

    steps: int = 256
    learning_rate: float = 0.05
    parametrization: str = "fourier"
    decorrelate: bool = True
    decay: float = 1.0
    jitter: float = 0.05
    scale: tuple[float, float] = (0.9, 1.1)
    rotate: float = 5.0
    l2: float = 0.0
    tv: float = 0.0


class Maximized(NamedTuple):
    """Images that excite objectives, and by how much.

    Attributes:
      images: inputs of the network, float32 [N, H, W, C].
      pixels: the same from 0 (black) to 1 (white), float32 [N, H, W, C].
      start: activation of the first image, float32 [N].
      end: activation of the last image, float32 [N].
      history: activation of the transformed image at each step, float32 [steps, N].
    """

    images: jax.Array
    pixels: jax.Array
    start: jax.Array
    end: jax.Array
    history: jax.Array


def maximize(
    model: nn.Module,
    variables: Any,
    objectives: Sequence[Objective],
    image_shape: tuple[int, int, int],
    key: jax.Array,
    *,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] = (-1.0, 1.0),
    ascent: Ascent = Ascent(),
) -> Maximized:
    """Returns one image for each objective, by the method of Olah et al.

    Several starts of one objective are several equal objectives. Image n depends on the key, on n
    and on its objective only.

    Args:
      model: the network; it is used as at test time.
      variables: of the network.
      objectives: N of one layer.
      image_shape: (H, W, C).
      key: of the first images and of the transformations.
      bounds: what a black and a white pixel are as inputs of the network: numbers, or arrays that
        broadcast to [H, W, C].
      ascent: how the images are improved.

    Raises:
      UserError: for an objective that does not exist, objectives of several layers, or an unknown
        parametrisation.
    """
    if ascent.parametrization not in PARAMETRIZATIONS:
        raise UserError(
            f"no parametrization {ascent.parametrization!r}:"
            f" {nearest(ascent.parametrization, PARAMETRIZATIONS)}"
        )
    shape = (len(objectives), *image_shape)
    node, weights, places = resolve(model, variables, objectives, shape)
    low, high = (jnp.broadcast_to(jnp.asarray(one, jnp.float32), image_shape) for one in bounds)
    return _maximize(model, variables, weights, places, (low, high), key, node=node, ascent=ascent)


@jit_with_model("node", "ascent")
def _maximize(
    model: nn.Module,
    variables: Any,
    weights: jax.Array,
    places: jax.Array,
    bounds: tuple[jax.Array, jax.Array],
    key: jax.Array,
    *,
    node: str,
    ascent: Ascent,
) -> Maximized:
    low, high = bounds
    shape = (len(weights), *low.shape)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(weights)))
    graph = trace(model, variables, jax.ShapeDtypeStruct(shape, jnp.float32))

    def excitation(pixels: jax.Array, rules: Any = None) -> jax.Array:
        images = low[None] + (high - low)[None] * pixels
        return activation(graph, variables, images, node, weights, places, rules)

    def objective(parameters: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        pixels = _to_pixels(parameters, shape, ascent)
        leak = jnp.where(number < LEAKING_STEPS, LEAK, 0.0)
        rules = {"relu": partial(_leaking, leak)}
        values = excitation(_transformed(pixels, keys, number, ascent), rules)
        penalty = ascent.l2 * jnp.mean((pixels - 0.5) ** 2, axis=(1, 2, 3))
        penalty += ascent.tv * total_variation(pixels)
        return jnp.sum(values - penalty), values

    def step(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        parameters, moments = state
        gradient, values = jax.grad(objective, has_aux=True)(parameters, number)
        updates, moments = adam.update(-gradient, moments)
        return (optax.apply_updates(parameters, updates), moments), values

    adam = optax.adam(ascent.learning_rate)
    parameters = _first_parameters(keys, shape, ascent)
    start = excitation(_to_pixels(parameters, shape, ascent))
    state = parameters, adam.init(parameters)
    (parameters, _), history = jax.lax.scan(step, state, jnp.arange(ascent.steps))
    pixels = _to_pixels(parameters, shape, ascent)
    images = low[None] + (high - low)[None] * pixels
    return Maximized(images, pixels, start, excitation(pixels), history)


def _leaking(leak: jax.Array, relu: Callable[..., jax.Array], x: jax.Array) -> jax.Array:
    """Returns relu(x), with a gradient that is larger by `leak`."""
    return relu(x) + leak.astype(x.dtype) * (x - jax.lax.stop_gradient(x))


def _first_parameters(keys: jax.Array, shape: Sequence[int], ascent: Ascent) -> jax.Array:
    _, height, width, channels = shape
    fourier = (height, width // 2 + 1, channels, 2)
    of_one = fourier if ascent.parametrization == "fourier" else (height, width, channels)
    return START * jax.vmap(partial(jax.random.normal, shape=of_one))(keys)


def _to_pixels(parameters: jax.Array, shape: Sequence[int], ascent: Ascent) -> jax.Array:
    """Returns pixels from 0 to 1, [N, H, W, C]."""
    plane = parameters
    if ascent.parametrization == "fourier":
        plane = fourier_to_images(parameters, (shape[1], shape[2]), ascent.decay)
    return jax.nn.sigmoid(correlate_colors(plane) if ascent.decorrelate else plane)


def _transformed(
    pixels: jax.Array, keys: jax.Array, number: jax.Array, ascent: Ascent
) -> jax.Array:
    """Returns the images of a step: shifted, enlarged and turned at random."""
    if not ascent.jitter and not ascent.rotate and ascent.scale == (1, 1):
        return pixels

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, number + 1), (4,), minval=-1)

    drawn = jax.vmap(draw)(keys)
    low, high = ascent.scale
    scales = low + (high - low) * (drawn[:, 2] + 1) / 2
    shifts = ascent.jitter * max(pixels.shape[1:3]) * drawn[:, :2]
    return warp(pixels, shifts, scales, jnp.deg2rad(ascent.rotate) * drawn[:, 3])


def maximize_pixels(
    model: nn.Module,
    variables: Any,
    objectives: Sequence[Objective],
    images: jax.Array,
    *,
    steps: int = 100,
    learning_rate: float = 1.0,
    l2: float = 0.0,
    norm: float | None = None,
) -> Maximized:
    """Returns one image for each objective, by plain gradient ascent on the inputs of the network.

    With `norm` this is Erhan et al., with `l2` and images of zeros Simonyan et al.

    Args:
      model: the network; it is used as at test time.
      variables: of the network.
      objectives: N of one layer.
      images: where the ascent starts, inputs of the network, float32 [N, H, W, C].
      steps: of the ascent.
      learning_rate: of the ascent.
      l2: weight of the sum of the squares of an image.
      norm: Euclidean norm that each image has after each step.

    Returns:
      `pixels` are the images, each shifted and scaled to the range from 0 to 1.

    Raises:
      UserError: for an objective that does not exist, or objectives of several layers.
    """
    node, weights, places = resolve(model, variables, objectives, images.shape)
    settings = jax.tree.map(jnp.float32, (learning_rate, l2, norm))
    return _maximize_pixels(
        model, variables, weights, places, images, settings, node=node, steps=steps
    )


@jit_with_model("node", "steps")
def _maximize_pixels(
    model: nn.Module,
    variables: Any,
    weights: jax.Array,
    places: jax.Array,
    images: jax.Array,
    settings: tuple[jax.Array, jax.Array, jax.Array | None],
    *,
    node: str,
    steps: int,
) -> Maximized:
    graph = trace(model, variables, images)
    learning_rate, l2, length = settings

    def excitation(images: jax.Array) -> jax.Array:
        return activation(graph, variables, images, node, weights, places)

    def objective(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = excitation(images)
        return jnp.sum(values) - l2 * jnp.sum(images**2), values

    def step(images: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        gradient, values = jax.grad(objective, has_aux=True)(images)
        return _with_norm(images + learning_rate * gradient, length), values

    first = _with_norm(images, length)
    last, history = jax.lax.scan(step, first, length=steps)
    low = jnp.min(last, axis=(1, 2, 3), keepdims=True)
    spread = jnp.max(last, axis=(1, 2, 3), keepdims=True) - low
    pixels = (last - low) / jnp.where(spread > 0, spread, 1)
    return Maximized(last, pixels, excitation(first), excitation(last), history)


def _with_norm(images: jax.Array, length: jax.Array | None) -> jax.Array:
    if length is None:
        return images
    norms = jnp.sqrt(jnp.sum(images**2, axis=(1, 2, 3), keepdims=True))
    return images * length / jnp.where(norms > 0, norms, 1)
