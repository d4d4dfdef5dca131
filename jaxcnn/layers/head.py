"""What stands behind a stage: global average pooling, classifiers, auxiliary logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy.typing as npt
from flax import linen as nn

from jaxcnn.layers.initializers import torch_uniform


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages maps over space: (N, H, W, C) to (N, C), in at least float32."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


def classifier(
    num_classes: int,
    dtype: Any,
    param_dtype: Any,
    kernel_init: nn.initializers.Initializer = torch_uniform,
) -> nn.Dense:
    """Returns the linear layer `classifier`, to be called on features (N, C).

    It computes in at least float32, so a bfloat16 network has float32 logits. The bias starts at
    zero, the weights by `kernel_init`, or at U(±1/sqrt(C)) as in torch.

    With a squared error it is linear regression, here onto one number:

    >>> from jaxcnn.losses import squared_error
    >>> features, targets = jnp.array([[1.0, 2.0], [3.0, 1.0]]), jnp.array([[7.0], [9.0]])
    >>> head = classifier(1, jnp.float32, jnp.float32)
    >>> weights = {"params": {"kernel": jnp.array([[2.0], [3.0]]), "bias": jnp.zeros(1)}}
    >>> squared_error(head.apply(weights, features), targets)
    Array([0.5, 0. ], dtype=float32)
    """
    return nn.Dense(
        num_classes,
        kernel_init=kernel_init,
        dtype=jnp.promote_types(dtype, jnp.float32),
        param_dtype=param_dtype,
        name="classifier",
    )


def minus_distances(x: jax.Array, centres: npt.ArrayLike) -> jax.Array:
    """Returns logits (N, K) of radial basis functions, at least float32: -Σ_j (x_j - c_kj)².

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, eq. 7; there the
    smallest distance wins, here the largest logit, as of any classifier.

    Args:
      x: (N, C).
      centres: (K, C), constants.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    c = jnp.asarray(centres, x.dtype)
    # (x - c)² = x² - 2xc + c². Accelerators would round the factors of the product to bfloat16 or
    # TensorFloat-32, which a small difference of large squares does not survive.
    products = jnp.matmul(x, c.T, precision=jax.lax.Precision.HIGHEST)
    return 2 * products - jnp.sum(x**2, axis=-1, keepdims=True) - jnp.sum(c**2, axis=-1)[None]


def sow_auxiliary(module: nn.Module, name: str, logits: jax.Array) -> None:
    """Puts an auxiliary head's logits into collection `aux`, if the caller made it mutable."""
    if not module.is_initializing():
        module.sow("aux", name, logits, reduce_fn=lambda _, new: new, init_fn=lambda: None)
