"""Saliency and gradient × input: how the score of a class changes with each pixel.

Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks: Visualising Image
Classification Models and Saliency Maps", 2013, arXiv 1312.6034, §3: near an image x₀ the score is
S_c(x) ≈ w·x + b with w = ∂S_c/∂x at x₀ (equation 4), and the saliency of a pixel is the largest
|w| of its channels (§3.1). S_c is the logit: the gradient of a probability also shows what lowers
the other classes.

Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box", 2016, arXiv 1605.01713,
multiply the gradient by the input. For a network of linear layers without biases, ReLU and
max-pools the products add up to the logit.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.attribution.targets import (
    check_classes,
    check_images,
    check_score,
    jit_with_model,
    logits_of,
    pick,
)


def saliency(
    model: nn.Module, variables: Any, images: Any, classes: Any = None, *, score: str = "logit"
) -> jax.Array:
    """Returns the largest |gradient| of each pixel's channels, (N, H, W) of the images' dtype.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each.
      score: whose gradient: "logit", "log_probability" or "probability".

    Raises:
      UserError: for images, classes or a score of another kind.
    """
    return largest_magnitude(pixel_gradient(model, variables, images, classes, score=score))


def pixel_gradient(
    model: nn.Module, variables: Any, images: Any, classes: Any = None, *, score: str = "logit"
) -> jax.Array:
    """Returns the gradient of the score with its signs, (N, H, W, C) of the images' dtype.

    Arguments and errors are those of `saliency`.
    """
    check_score(score)
    images = check_images(images)
    classes = check_classes(model, images, classes)
    return _pixel_gradient(model, variables, images, classes, score=score)


def gradient_times_input(
    model: nn.Module, variables: Any, images: Any, classes: Any = None, *, score: str = "logit"
) -> jax.Array:
    """Returns gradient × input of each value, (N, H, W, C) of the images' dtype.

    The sum over channels is the share of a pixel. Inputs are normalised, so the mean colour counts
    as nothing. Arguments and errors are those of `saliency`.
    """
    images = check_images(images)
    return images * pixel_gradient(model, variables, images, classes, score=score)


def largest_magnitude(values: jax.Array) -> jax.Array:
    """Returns the largest magnitude among the channels of each pixel: (N, H, W, C) to (N, H, W)."""
    return jnp.max(jnp.abs(values), axis=-1)


def score_gradient(
    model: nn.Module, variables: Any, images: jax.Array, classes: jax.Array, score: str
) -> jax.Array:
    """Returns the gradient of the scores, (N, H, W, C); for use inside of a compiled function.

    Args:
      model: the network.
      variables: of the network.
      images: (N, H, W, C).
      classes: int (N,).
      score: a name of `SCORES`.
    """

    def total(images: jax.Array) -> jax.Array:
        return pick(logits_of(model, variables, images), classes, score).sum()

    return jax.grad(total)(images)


@jit_with_model("score")
def _pixel_gradient(
    model: nn.Module, variables: Any, images: jax.Array, classes: Any, *, score: str
) -> jax.Array:
    def total(images: jax.Array) -> jax.Array:
        logits = logits_of(model, variables, images)
        chosen = jnp.argmax(logits, axis=-1) if classes is None else classes
        return pick(logits, chosen, score).sum()

    return jax.grad(total)(images)
