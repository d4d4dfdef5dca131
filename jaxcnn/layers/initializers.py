"""Kernel initialisers by name.

An initialiser is called as `init(key, shape, dtype)`. For a shape (…, in, out), fan-in n is the
product of all axes but the last, fan-out the product of all but the second-last.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from jaxcnn.errors import UserError, nearest

Fan = Literal["fan_in", "fan_out"]

_scaled = nn.initializers.variance_scaling

# Glorot and Bengio, 2010: variance 2 / (fan-in + fan-out), which is U(±sqrt(6 / (in + out))). The
# normal form is not truncated, unlike Flax's.
glorot_uniform = _scaled(1.0, "fan_avg", "uniform")
glorot_normal = _scaled(1.0, "fan_avg", "normal")


def he_normal(fan: Fan = "fan_in", negative_slope: float = 0.0) -> Initializer:
    """Returns N(0, 2 / ((1 + a²)·n)) of He et al. (arXiv 1502.01852), not truncated.

    Args:
      fan: "fan_in" or "fan_out", the meaning of n.
      negative_slope: a of the following activation: 0 for ReLU, 0.25 for PReLU.
    """
    return _scaled(2 / (1 + negative_slope**2), fan, "normal")


def he_uniform(fan: Fan = "fan_in", negative_slope: float = 0.0) -> Initializer:
    """Returns U(±sqrt(6 / ((1 + a²)·n))), which has the variance of `he_normal`."""
    return _scaled(2 / (1 + negative_slope**2), fan, "uniform")


# n = k²·C_out, as in the released ResNet and DenseNet code.
he_normal_fan_out = he_normal("fan_out")

# Caffe's "xavier", U(±sqrt(3/n)): unlike Glorot's, it does not depend on the fan-out.
caffe_xavier = _scaled(1.0, "fan_in", "uniform")

# U(±1/sqrt(n)), the default of torch's layers and therefore of the classifiers in the released
# ResNet and DenseNet code.
torch_uniform = _scaled(1 / 3, "fan_in", "uniform")


def normal(std: float) -> Initializer:
    """Returns N(0, std²)."""
    return nn.initializers.normal(std)


def truncated_normal(std: float) -> Initializer:
    """Returns TensorFlow's N(0, std²), truncated at two deviations and not rescaled."""
    return nn.initializers.truncated_normal(std)


def uniform(bound: float) -> Initializer:
    """Returns U(±bound); Keras's "uniform" has bound 0.05."""

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound, out_sharding=out_sharding)

    return draw


def lecun_1998(fan_in: int | None = None) -> Initializer:
    """Returns LeNet-5's U(±2.4/n); None computes the fan-in n from the kernel's shape."""

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        bound = 2.4 / (fan_in or math.prod(shape[:-1]))
        return uniform(bound)(key, shape, dtype, out_sharding)

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_normal": he_normal(),
    "he_normal_fan_out": he_normal_fan_out,
    "he_uniform": he_uniform(),
    "caffe_xavier": caffe_xavier,
    "torch_uniform": torch_uniform,
    "normal": normal(0.01),  # AlexNet
    "normal_0.1": normal(0.1),  # VGG
    "truncated_normal": truncated_normal(0.1),  # Inception
    "uniform": uniform(0.05),
    "lecun_1998": lecun_1998(),
}


def initializer(name: str) -> Initializer:
    """Returns the initialiser of a name in `INITIALIZERS`.

    Raises:
      UserError: if the name does not exist.
    """
    if name not in INITIALIZERS:
        raise UserError(f"no initializer {name!r}: {nearest(name, INITIALIZERS)}")
    return INITIALIZERS[name]
