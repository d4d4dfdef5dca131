"""Integrated gradients: the score's difference from a baseline, shared out to the pixels.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017, arXiv 1703.01365.
Equation 1: IG_i(x) = (x_i - x'_i) ∫₀¹ ∂F(x' + α(x - x'))/∂x_i dα. The sum over i is F(x) - F(x')
(completeness, proposition 1); what a finite sum misses of it is the completeness gap, and §5 takes
as many steps as make it small. The paper's sum (equation 3) is the Riemann sum at α = k/m; the
nodes of Gauss and Legendre are m others, with weights.

F is the logit here. The baseline is an image without evidence: the result depends on it, and so
does what counts as nothing: from a black one, black pixels get nothing.
"""

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
BASELINES = ("zero", "mean")
RULES = ("gauss_legendre", "riemann")


class IntegratedGradients(NamedTuple):
    """What `integrated_gradients` returns.

    Attributes:
      pixels: (N, H, W, C); the sum over channels is the share of a pixel.
      difference: of the logit at the image and at the baseline, (N,).
      gap: |sum of the pixels - difference| / |difference|, (N,): the completeness gap.
    """

    pixels: jax.Array
    difference: jax.Array
    gap: jax.Array


def integrated_gradients(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    *,
    baseline: Any = "zero",
    steps: int = 128,
    rule: str = "gauss_legendre",
) -> IntegratedGradients:
    """Returns what each value adds to the logit on the way from a baseline to the image.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.
      baseline: "zero", which is the mean colour of the training images where inputs are normalised
        by it; "mean", the mean colour of each image itself; or an array of the shape of an image
        or of all images. Black is `network.preprocess(numpy.zeros((H, W, C), numpy.uint8))` of a
        network that `jaxcnn.load` returns.
      steps: m.
      rule: "gauss_legendre", or "riemann" as in the paper.

    Raises:
      UserError: for images, classes, a baseline, steps or a rule of another kind.
    """
    check_whole("steps", steps, most=1000)
    if rule not in RULES:
        raise UserError(f"no rule {rule!r}: {nearest(rule, RULES)}")
    images = check_images(images)
    classes = check_classes(model, images, classes)
    start = _baseline(baseline, images)
    return _integrated(model, variables, images, classes, start, steps=steps, rule=rule)


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


@jit_with_model("steps", "rule")
def _integrated(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: Any,
    start: jax.Array,
    *,
    steps: int,
    rule: str,
) -> IntegratedGradients:
    classes = likeliest(model, variables, images, classes)
    at_once = min(BATCH, steps)
    missing = -steps % at_once
    # Steps that fill the last batch up have no weight.
    places, weights = (np.pad(one, (0, missing)) for one in path_nodes(steps, rule))
    turns = jnp.asarray(np.stack([places, weights], -1).reshape(-1, at_once, 2), images.dtype)

    def of_image(one: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        image, begin, label = one

        def more(total: jax.Array, turn: jax.Array) -> tuple[jax.Array, None]:
            place, weight = turn[:, None, None, None, 0], turn[:, None, None, None, 1]
            path = begin[None] + place * (image - begin)[None]
            labels = jnp.full(at_once, label)
            gradients = score_gradient(model, variables, path, labels, "logit")
            return total + jnp.sum(weight * gradients, axis=0), None

        return jax.lax.scan(more, jnp.zeros_like(image), turns)[0]

    pixels = (images - start) * jax.lax.map(of_image, (images, start, classes))
    ends = (pick(logits_of(model, variables, one), classes) for one in (images, start))
    difference = next(ends) - next(ends)
    missed = jnp.sum(pixels, axis=(1, 2, 3)) - difference
    return IntegratedGradients(pixels, difference, jnp.abs(missed) / jnp.abs(difference))
