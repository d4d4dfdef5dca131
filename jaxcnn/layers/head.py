"""Layers after the last stage: pooling, input of dense layers, classifiers, auxiliary logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy.typing as npt
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers.initializers import torch_uniform
from jaxcnn.ops.pool import adaptive_avg_pool


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages maps over space: (N, H, W, C) to (N, C), in at least float32."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


def flat_maps(x: jax.Array, size: tuple[int, int], fully_convolutional: bool = False) -> jax.Array:
    """Returns the first dense layer's input from the last maps (N, H, W, C).

    This is (N, size[0]·size[1]·C): the maps averaged to `size`. If fully convolutional, it is every
    window of that size, (N, H', W', size[0]·size[1]·C) with H' = H - size[0] + 1, in the same
    order. Dense layers on these windows equal the convolutions of Simonyan and Zisserman, "Very
    Deep Convolutional Networks", 2014, §3.2, with the same parameters.

    Raises:
      UserError: if the maps are smaller than the window.
    """
    if not fully_convolutional:
        x = adaptive_avg_pool(x, size)
        return x.reshape(x.shape[0], -1)
    down, across = (length - side + 1 for length, side in zip(x.shape[1:3], size, strict=True))
    if min(down, across) < 1:
        raise UserError(
            f"the last maps are {x.shape[1]}x{x.shape[2]} and the first dense layer wants"
            f" {size[0]}x{size[1]}: take larger images where it is made a convolution"
        )
    windows = [x[:, i : i + down, j : j + across] for i in range(size[0]) for j in range(size[1])]
    return jnp.concatenate(windows, axis=-1)


def classifier(
    num_classes: int,
    dtype: Any,
    param_dtype: Any,
    kernel_init: nn.initializers.Initializer = torch_uniform,
) -> nn.Dense:
    """Returns the linear layer `classifier`, to be applied to features (N, C).

    It computes in at least float32, so a bfloat16 network has float32 logits. The bias is
    initialised with zeros, the weights by `kernel_init`, by default U(±1/sqrt(C)) as in torch.

    With a squared error it is linear regression, here with one output:

    >>> from jaxcnn.training.losses import squared_error
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


@jax.named_scope("minus_distances")
def minus_distances(x: jax.Array, centres: npt.ArrayLike) -> jax.Array:
    """Returns radial basis function logits (N, K), at least float32: -Σ_j (x_j - c_kj)².

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, eq. 7. The paper
    selects the smallest distance; here it is the largest logit, as in any classifier.

    Args:
      x: (N, C).
      centres: (K, C), constants.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    c = jnp.asarray(centres, x.dtype)
    # (x - c)² = x² - 2xc + c². Accelerators would round the factors of the product to bfloat16 or
    # TensorFloat-32, which is too coarse for a small difference of large squares.
    products = jnp.matmul(x, c.T, precision=jax.lax.Precision.HIGHEST)
    return 2 * products - jnp.sum(x**2, axis=-1, keepdims=True) - jnp.sum(c**2, axis=-1)[None]


def sow_auxiliary(module: nn.Module, name: str, logits: jax.Array) -> None:
    """Adds an auxiliary head's logits to the collection `aux`, if the caller made it mutable."""
    if not module.is_initializing():
        module.sow("aux", name, logits, reduce_fn=lambda _, new: new, init_fn=lambda: None)


def runs_auxiliary(module: nn.Module, train: bool) -> bool:
    """Returns whether auxiliary heads run: in training or initialisation, if `aux` is mutable."""
    return train or module.is_initializing() or module.is_mutable_collection("aux")
