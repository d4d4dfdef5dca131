"""Batch normalisation, and how a network sets it once, before handing it down."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import canonicalize_dtype

from jaxcnn.layers.conv import Constructor
from jaxcnn.ops.norm import batch_normalise, normalise


class BatchNorm(nn.BatchNorm):
    """Flax's `BatchNorm`: same fields, variables and values, with a faster backward pass.

    That keeps the input in its own dtype instead of float32 copies, and sums as
    `jaxcnn.ops.sums` does. It has no forward mode (`jax.jvp`) in training. With a mask, groups of
    devices, another axis than the last, or without scale or bias it is Flax's own.
    """

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Normalises (…, C); see `flax.linen.BatchNorm`."""
        usual = (
            mask is None
            and self.axis_index_groups is None
            and self.axis in (-1, x.ndim - 1)
            and self.use_fast_variance
            and self.use_scale
            and self.use_bias
        )
        if not usual:
            return super().__call__(x, use_running_average, mask=mask)
        averaged = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        features = x.shape[-1:]
        kept_dtype = jnp.float32 if self.force_float32_reductions else self.param_dtype
        kept = (
            self.variable("batch_stats", "mean", jnp.zeros, features, kept_dtype),
            self.variable("batch_stats", "var", jnp.ones, features, kept_dtype),
        )
        scale = self.param("scale", self.scale_init, features, self.param_dtype)
        bias = self.param("bias", self.bias_init, features, self.param_dtype)
        dtype = canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        if averaged:
            mean, variance = (each.value for each in kept)
            return normalise(x, mean, variance, scale, bias, self.epsilon, dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        y, *statistics = batch_normalise(x, scale, bias, self.epsilon, dtype, axis_name)
        if not self.is_initializing():
            for each, found in zip(kept, statistics, strict=True):
                each.value = self.momentum * each.value + (1 - self.momentum) * found
        return y


def batch_norm(
    norm: Constructor,
    *,
    train: bool,
    momentum: float,
    epsilon: float,
    dtype: Any,
    param_dtype: Any,
) -> Constructor:
    """Returns `norm` with everything set that blocks should not know of.

    Statistics are kept and computed in at least float32, whatever `dtype` is.

    Args:
      norm: `BatchNorm` or Flax's, or a partial (`partial(BatchNorm, axis_name="batch")`
        averages the statistics over the devices of that axis).
      train: normalise by the statistics of the batch and update the running ones.
      momentum: decay of the running average (torch's momentum is one minus this).
      epsilon: added to the variance.
      dtype: of the output.
      param_dtype: of scale and bias.
    """
    fields: dict[str, Any] = {}
    if jnp.promote_types(param_dtype, jnp.float32) == jnp.float64:
        # Flax would start the running statistics in float32 and turn them into float64 at the
        # first update, a change of type that `lax.scan` refuses and that loses precision once.
        fields["force_float32_reductions"] = False
    return partial(
        norm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
        param_dtype=param_dtype,
        **fields,
    )


def by_batch_statistics(kept: Callable[[str], bool]) -> Callable[..., Any]:
    """Returns an interceptor (`nn.intercept_methods`): norms measure in evaluation.

    They normalise by the statistics of the batch, as in training, and leave these as they are in
    `batch_stats`, which must be mutable, instead of moving an average towards them. Dropout and
    everything else are as in evaluation.

    Args:
      kept: tells by the name of a statistic, "stem/norm/mean", which norms go on as in evaluation.
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, nn.BatchNorm) and not kept("/".join((*module.path, "mean"))):
            # A module is made anew for each call of the network; nobody else has this one.
            object.__setattr__(module, "use_running_average", False)
            object.__setattr__(module, "momentum", 0.0)
        return method(*args, **kwargs)

    return intercept


def by_running_statistics(chosen: Callable[[str], bool]) -> Callable[..., Any]:
    """Returns an interceptor (`nn.intercept_methods`): chosen norms use their running statistics.

    They normalise as in evaluation, whatever the network is told, and update nothing.

    Args:
      chosen: tells by the name of a statistic, "stem/norm/mean".
    """

    def intercept(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        training = getattr(module, "use_running_average", None) is False
        if training and chosen("/".join((*module.path, "mean"))):
            # A module is made anew for each call of the network; nobody else has this one.
            object.__setattr__(module, "use_running_average", True)
        return method(*args, **kwargs)

    return intercept
