"""Mixup and CutMix: combine two images, their labels and a share.

The partners are neighbours: rows 2j and 2j + 1 of the batch. Every device, process and microbatch
has an even number of rows, so the result of a row depends only on (seed, step). The order of an
epoch is random, so neighbours are random partners. With `data.repeats`, each view of an example has
another neighbour; see `pipeline`. Each row draws its own share from its own key.

Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018, arXiv
1710.09412, whose code draws one share for a batch; Yun et al., "CutMix", 2019, arXiv 1905.04899.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.config import spec
from jaxcnn.data.augmentation.augment import box_mask
from jaxcnn.errors import UserError

_USE = 32  # folded into an example's key; `augment` uses the smaller numbers


@dataclasses.dataclass(frozen=True)
class MixupConfig(spec.Section):
    """Part of the section `data`: mixing of training images."""

    mixup: float = spec.field(0.0, "alpha of mixup's Beta distribution; 0 is off", spec.strength)
    cutmix: float = spec.field(
        0.0,
        "alpha of CutMix's Beta distribution; 0 is off; with both, each image uses one of them",
        spec.strength,
    )
    mix_probability: float = spec.field(1.0, "probability that an image is mixed", spec.share)


class Mixed(NamedTuple):
    """A batch of mixed images; the label of a row is λ·label + (1 - λ)·partner.

    Attributes:
      images: float32 [b, H, W, C].
      partners: int32 [b], labels of the partners.
      shares: float32 [b], λ, the share of the row's own label.
    """

    images: jax.Array
    partners: jax.Array
    shares: jax.Array


def mixup(
    image: jax.Array, partner: jax.Array, key: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Returns λ·image + (1 - λ)·partner and λ ~ Beta(alpha, alpha)."""
    share = jax.random.beta(key, alpha, alpha)
    return share * image + (1 - share) * partner, share


def cutmix(
    image: jax.Array, partner: jax.Array, key: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Pastes a box of the partner; returns the image and its remaining share.

    The box has the image's aspect ratio and the area 1 - λ, λ ~ Beta(alpha, alpha). Its centre is
    drawn in the image; it is clipped to the image, and the share is counted in pixels.
    """
    height, width, _ = image.shape
    draw, place = jax.random.split(key)
    side = jnp.sqrt(1 - jax.random.beta(draw, alpha, alpha))
    sides = (side * jnp.array([height, width])).astype(int)
    middle = jax.random.randint(place, (2,), 0, jnp.array([height, width]))
    top, left = jnp.maximum(middle - sides // 2, 0)
    bottom, right = jnp.minimum(middle - sides // 2 + sides, jnp.array([height, width]))
    pasted = box_mask(image.shape, top, left, bottom, right)
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return jnp.where(pasted, partner, image), share


def mixup_or_cutmix(
    images: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    keys: jax.Array,
    config: MixupConfig,
) -> Mixed:
    """Mixes every row with its neighbour, or leaves it unchanged.

    A row whose neighbour is unreadable (weight 0) is unchanged.

    Args:
      images: float32 [b, H, W, C], augmented and normalised; b is even.
      labels: int32 [b].
      weights: float32 [b].
      keys: typed keys [b] of the examples.
      config: kind and amount of mixing.

    Raises:
      UserError: if the number of rows is odd.
    """
    if len(labels) % 2:
        raise UserError(f"{len(labels)} rows on a device cannot be mixed in pairs: make them even")

    def swapped(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, 2, *rows.shape[1:])[:, ::-1].reshape(rows.shape)

    def one(
        image: jax.Array, partner: jax.Array, usable: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        chance, choice, draw = jax.random.split(jax.random.fold_in(key, _USE), 3)
        if config.cutmix and config.mixup:
            blended = mixup(image, partner, draw, config.mixup)
            pasted = cutmix(image, partner, draw, config.cutmix)
            blend = jax.random.bernoulli(choice)
            mixed, share = jax.tree.map(lambda a, b: jnp.where(blend, a, b), blended, pasted)
        elif config.cutmix:
            mixed, share = cutmix(image, partner, draw, config.cutmix)
        else:
            mixed, share = mixup(image, partner, draw, config.mixup)
        done = usable & jax.random.bernoulli(chance, config.mix_probability)
        return jnp.where(done, mixed, image), jnp.where(done, share, 1.0)

    mixed, shares = jax.vmap(one)(images, swapped(images), swapped(weights) > 0, keys)
    return Mixed(mixed, swapped(labels), shares)
