"""SmoothGrad and VarGrad: mean and variance of the gradient under noise on the image.

Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise", 2017,
arXiv 1706.03825, §3: M̂_c(x) = 1/n Σ M_c(x + N(0, σ²)) with M_c = ∂S_c/∂x; σ is given as a share of
x_max - x_min, of which 10 to 20 % look best, and n of more than 50 change little.

Adebayo, Gilmer, Goodfellow and Kim, "Local Explanation Methods for Deep Neural Networks Lack
Sensitivity to Parameter Values", 2018, arXiv 1810.03307: VarGrad is the variance of the same
gradients.

Ours: all images of a batch get the same n noises, each image's times its own σ, so that the map of
an image does not depend on its batch. A variance is divided by n.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.attribution.backprop.gradient import score_gradient
from jaxcnn.attribution.targets import check_classes, check_images, jit_with_model, likeliest
from jaxcnn.errors import UserError, check_whole

BATCH = 8  # noisy copies that are given to the network at once


class Moments(NamedTuple):
    """Mean and sum of squared deviations of the first `number` gradients of an image."""

    number: jax.Array
    mean: jax.Array
    squares: jax.Array


def smoothgrad(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    *,
    key: jax.Array,
    samples: int = 25,
    noise: float = 0.15,
) -> jax.Array:
    """Returns the mean gradient of the logit under noise, (N, H, W, C) of the images' dtype.

    `jaxcnn.attribution.largest_magnitude` makes a map (N, H, W) of it, as of a gradient.

    Args:
      model: `model.apply(variables, images, train=False)` returns logits (N, K).
      variables: of the network.
      images: its inputs, normalised, float (N, H, W, C).
      classes: int (N,), or one number for all images; None is the likeliest class of each image
        without noise.
      key: of the noise.
      samples: n, noisy copies of each image.
      noise: σ as a share of the image's range.

    Raises:
      UserError: for images, classes, samples or noise of another kind.
    """
    return _moments_of(model, variables, images, classes, key, samples, noise).mean


def vargrad(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any = None,
    *,
    key: jax.Array,
    samples: int = 25,
    noise: float = 0.15,
) -> jax.Array:
    """Returns the variance of the logit's gradient under noise, (N, H, W, C) of the images' dtype.

    Arguments and errors are those of `smoothgrad`.
    """
    moments = _moments_of(model, variables, images, classes, key, samples, noise)
    return moments.squares / samples


def _moments_of(
    model: nn.Module,
    variables: Any,
    images: Any,
    classes: Any,
    key: jax.Array,
    samples: int,
    noise: float,
) -> Moments:
    check_whole("samples", samples)
    if not (math.isfinite(noise) and noise >= 0):
        raise UserError(f"noise={noise}: give a share of the image's range, such as 0.15")
    images = check_images(images)
    classes = check_classes(model, images, classes)
    return _moments(model, variables, images, classes, key, float(noise), samples=samples)


@jit_with_model("samples")
def _moments(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    classes: Any,
    key: jax.Array,
    noise: jax.Array,
    *,
    samples: int,
) -> Moments:
    classes = likeliest(model, variables, images, classes)
    at_once = min(BATCH, samples)

    def of_image(one: tuple[jax.Array, jax.Array]) -> Moments:
        image, label = one
        sigma = (noise * (jnp.max(image) - jnp.min(image))).astype(image.dtype)

        def more(moments: Moments, first: jax.Array) -> tuple[Moments, None]:
            numbers = first + jnp.arange(at_once)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
            drawn = jax.vmap(lambda key: jax.random.normal(key, image.shape, image.dtype))(keys)
            noisy = image[None] + sigma * drawn
            labels = jnp.full(at_once, label)
            gradients = score_gradient(model, variables, noisy, labels, "logit")
            return _added(moments, gradients, numbers < samples), None

        nothing = jnp.zeros_like(image)
        start = Moments(jnp.zeros((), image.dtype), nothing, nothing)
        return jax.lax.scan(more, start, jnp.arange(0, samples, at_once))[0]

    return jax.lax.map(of_image, (images, classes))


def _added(moments: Moments, gradients: jax.Array, counted: jax.Array) -> Moments:
    """Adds gradients (B, H, W, C) where `counted`; Chan, Golub and LeVeque's update, 1979."""
    weights = counted.astype(gradients.dtype)[:, None, None, None]
    count = jnp.sum(weights)
    mean = jnp.sum(weights * gradients, axis=0) / count
    squares = jnp.sum(weights * jnp.square(gradients - mean[None]), axis=0)
    total = moments.number + count
    apart = mean - moments.mean
    return Moments(
        total,
        moments.mean + apart * (count / total),
        moments.squares + squares + jnp.square(apart) * (moments.number * count / total),
    )
