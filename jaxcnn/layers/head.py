"""What stands behind a stage: global average pooling, the linear classifier, auxiliary logits."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

# U(±1/sqrt(fan_in)): what torch's linear layer draws, hence what the released ResNet and DenseNet
# code trained from.
_uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages maps over space: (N, H, W, C) to (N, C), in at least float32."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


def classifier(
    num_classes: int,
    dtype: Any,
    param_dtype: Any,
    kernel_init: nn.initializers.Initializer = _uniform_fan_in,
) -> nn.Dense:
    """Returns the linear layer `classifier`, to be called on features (N, C).

    It computes in at least float32, so a bfloat16 network has float32 logits. The bias starts at
    zero, the weights by `kernel_init`, or at U(±1/sqrt(C)) as in torch.
    """
    return nn.Dense(
        num_classes,
        kernel_init=kernel_init,
        dtype=jnp.promote_types(dtype, jnp.float32),
        param_dtype=param_dtype,
        name="classifier",
    )


def sow_auxiliary(module: nn.Module, name: str, logits: jax.Array) -> None:
    """Puts an auxiliary head's logits into collection `aux`, if the caller made it mutable."""
    if not module.is_initializing():
        module.sow("aux", name, logits, reduce_fn=lambda _, new: new, init_fn=lambda: None)
