"""Networks so small that their maps can be worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


class Tiny(nn.Module):
    """1x1 convolution, ReLU; global average pooling or all pixels; linear layer."""

    features: int = 2
    num_classes: int = 2
    pooled: bool = True
    hidden: bool = False

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(self.features, (1, 1), use_bias=False, name="conv")(images))
        x = jnp.mean(x, axis=(1, 2)) if self.pooled else x.reshape(len(x), -1)
        if self.hidden:
            x = nn.relu(nn.Dense(3, name="hidden")(x))
        return nn.Dense(self.num_classes, name="classifier")(x)


class Small(nn.Module):
    """Two 3x3 convolutions with ReLU and a pool between them, global average pooling, linear."""

    num_classes: int = 4

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(6, (3, 3), name="conv1")(images))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(8, (3, 3), name="conv2")(x))
        return nn.Dense(self.num_classes, name="classifier")(jnp.mean(x, axis=(1, 2)))


def identity(features=2):
    """Returns the kernel of a 1x1 convolution that does nothing."""
    return {"kernel": jnp.eye(features)[None, None]}


def linear(kernel, bias=(0.5, -0.25)):
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}


# Two maps of one image, [1, 2, 2, 2]; the ReLU sets the -5 to zero.
MAPS = np.stack([[[1.0, 2], [3, 0]], [[4, 0], [-5, 2]]], axis=-1)[None].astype(np.float32)


def small(seed=0, size=12, channels=3, count=2):
    """Returns a network, random variables and images."""
    images = jax.random.normal(jax.random.key(seed), (count, size, size, channels))
    return Small(), Small().init(jax.random.key(seed + 1), images), images
