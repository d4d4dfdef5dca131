"""Integrated gradients: the score's difference from a baseline, shared out to the pixels.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017, arXiv 1703.01365.
Equation 1: IG_i(x) = (x_i - x'_i) ∫₀¹ ∂F(x' + α(x - x'))/∂x_i dα. The sum over i is F(x) - F(x')
(completeness, proposition 1); what a finite sum misses of it is the completeness gap, and §5 takes
as many steps as make it small: here m, 2m, 4m … for each image, until its gap is at most the
tolerance. The paper's sum (equation 3) is the Riemann sum at α = k/m; the nodes of Gauss and
Legendre are m others, with weights. The gradient of a network of ReLUs jumps along the way, so that
no rule is exact, and more steps are taken as equal parts of the way with m nodes each.

F is the logit here. The baseline is an image without evidence: the result depends on it, and so
does what counts as nothing: from a black one, black pixels get nothing.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.attribution.backprop.gradient import score_gradient
from jaxcnn.attribution.targets import (
    check_classes,
    check_images,
    jit_with_model,
    likeliest,
    logits_of,
    pick,
)
from jaxcnn.errors import UserError, check_whole, nearest

BATCH = 8  # images of a path that are given to the network at once
MOST_PARTS = 16  # of the way from the baseline to an image
BASELINES = ("zero", "mean")
RULES = ("gauss_legendre", "riemann")


class IntegratedGradients(NamedTuple):
    """What `integrated_gradients` returns.

    Attributes:
      pixels: (N, H, W, C); the sum over channels is the share of a pixel.
      difference: of the logit at the image and at the baseline, (N,).
      gap: |sum of the pixels - difference| / |difference|, (N,): the completeness gap; 0 where both
        are 0.
      steps: that were taken, int (N,).
    """

    pixels: jax.Array
    difference: jax.Array
    gap: jax.Array
    steps: jax.Array


def integrated_gradients(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    *,
    baseline: Any = "zero",
    steps: int = 64,
    rule: str = "gauss_legendre",
    tolerance: float | None = 0.01,
) -> IntegratedGradients:
    """Returns what each value adds to the logit on the way from a baseline to the image.

    The steps of an image are doubled while its gap is above the tolerance, up to 16 times as
    many. Near the precision of the numbers the gap does not get smaller any more.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.
      baseline: "zero", which is the mean colour of the training images where inputs are normalised
        by it; "mean", the mean colour of each image itself; or an array of the shape of an image
        or of all images. Black is `network.preprocess(numpy.zeros((H, W, C), numpy.uint8))` of a
        network that `jaxcnn.load` returns.
      steps: m, the least number of gradients for an image.
      rule: "gauss_legendre", or "riemann" as in the paper.
      tolerance: largest gap; None takes m steps, whatever the gap is. Only then the result can be
        differentiated backwards.

    Raises:
      UserError: for images, classes, a baseline, steps, a rule or a tolerance of another kind.
    """
    check_whole("steps", steps, most=1000)
    if tolerance is not None and not tolerance >= 0:
        raise UserError(f"tolerance={tolerance}: give a share of the difference, such as 0.01")
    if rule not in RULES:
        raise UserError(f"no rule {rule!r}: {nearest(rule, RULES)}")
    images = check_images(images)
    classes = check_classes(model, images, classes)
    start = _baseline(baseline, images)
    return _integrated(
        model, variables, images, classes, start, steps=steps, rule=rule, tolerance=tolerance
    )


def path_nodes(steps: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns places in [0, 1] and their weights, which add up to 1; float64 (steps,) each."""
    if rule == "riemann":
        return np.arange(1, steps + 1) / steps, np.full(steps, 1 / steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def _baseline(baseline: Any, images: jax.Array) -> jax.Array:
    if isinstance(baseline, str):
        if baseline not in BASELINES:
            raise UserError(f"no baseline {baseline!r}: {nearest(baseline, BASELINES)}")
        if baseline == "zero":
            return jnp.zeros_like(images)
        return jnp.broadcast_to(jnp.mean(images, axis=(1, 2), keepdims=True), images.shape)
    array = jnp.asarray(baseline, images.dtype)
    if array.shape not in (images.shape[1:], (1, *images.shape[1:]), images.shape):
        raise UserError(
            f"the baseline is {list(array.shape)}: give one image {list(images.shape[1:])}, or"
            f" {list(images.shape)}"
        )
    array = array.reshape(-1, *images.shape[1:])
    return jnp.broadcast_to(array, images.shape)


@jit_with_model("steps", "rule", "tolerance")
def _integrated(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: Any,
    start: jax.Array,
    *,
    steps: int,
    rule: str,
    tolerance: float | None,
) -> IntegratedGradients:
    classes = likeliest(model, variables, images, classes)
    ends = (pick(logits_of(model, variables, one), classes) for one in (images, start))
    difference = next(ends) - next(ends)

    def of_image(one: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
        image, begin, label, rise = one
        gradient = partial(_mean_gradient, model, variables, image, begin, label, steps, rule)

        def finer(state: tuple[jax.Array, jax.Array, Any]) -> tuple[jax.Array, jax.Array, Any]:
            parts = jnp.maximum(2 * state[2], 1)
            return _shares(gradient(parts), image - begin, rise, parts)

        if tolerance is None:
            return _shares(gradient(1), image - begin, rise, jnp.int32(1))
        nothing = jnp.zeros_like(image), jnp.asarray(jnp.inf, rise.dtype), jnp.int32(0)
        return jax.lax.while_loop(
            lambda state: (state[1] > tolerance) & (state[2] < MOST_PARTS), finer, nothing
        )

    pixels, gap, parts = jax.lax.map(of_image, (images, start, classes, difference))
    return IntegratedGradients(pixels, difference, gap, steps * parts)


def _shares(
    gradient: jax.Array, way: jax.Array, rise: jax.Array, parts: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the shares of an image's values, their completeness gap, and the parts of the way."""
    pixels = way * gradient
    missed = jnp.abs(jnp.sum(pixels) - rise)
    divisor = jnp.where(missed == 0, 1, jnp.abs(rise))
    return pixels, missed / divisor, parts


def _mean_gradient(
    model: nn.Module,
    variables: Any,
    image: jax.Array,
    begin: jax.Array,
    label: jax.Array,
    steps: int,
    rule: str,
    parts: Any,
) -> jax.Array:
    """Returns the mean gradient on the way from `begin` to an image, (H, W, C).

    Args:
      model: the network.
      variables: of the network.
      image: (H, W, C).
      begin: (H, W, C).
      label: whose logit.
      steps: nodes of each part of the way.
      rule: see `path_nodes`.
      parts: equal parts of the way; an array needs no program of its own for each number.
    """
    at_once = min(BATCH, steps)
    missing = -steps % at_once
    # Steps that fill the last batch up have no weight.
    places, weights = (np.pad(one, (0, missing)) for one in path_nodes(steps, rule))
    turns = jnp.asarray(np.stack([places, weights], -1).reshape(-1, at_once, 2), image.dtype)

    def more(number: jax.Array, total: jax.Array) -> jax.Array:
        turn = turns[number % len(turns)][:, None, None, None]
        place = (number // len(turns) + turn[..., 0]) / parts
        path = begin[None] + place.astype(image.dtype) * (image - begin)[None]
        labels = jnp.full(at_once, label)
        gradients = score_gradient(model, variables, path, labels, "logit")
        return total + jnp.sum(turn[..., 1] * gradients, axis=0)

    return jax.lax.fori_loop(0, parts * len(turns), more, jnp.zeros_like(image)) / parts
