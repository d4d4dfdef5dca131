"""Batch normalisation for batches in which only some rows have labels."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """Reshapes values (C,) to the rank of x (N, ..., C)."""
    return values.reshape((1,) * (x.ndim - values.ndim) + values.shape)


def _per_row(rows: jax.Array, x: jax.Array) -> jax.Array:
    return rows.reshape(-1, *(1,) * (x.ndim - 1))


class SplitBatchNorm(nn.Module):
    """Batch normalisation without scale and bias, separate for labelled and unlabelled rows.

    Attributes:
      use_running_average: whether to normalise by the running statistics.
      momentum: decay of the running statistics.
      epsilon: added to variances.
      dtype: dtype of the output; statistics are stored and computed in at least float32.
      param_dtype: float64 stores the statistics in float64 too.
      axis_name: mapped axis of devices over which statistics are computed.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    axis_name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises all rows (N, ..., C) together."""
        return self.normalize(x, None, update=True)[0]

    @nn.compact
    def normalize(
        self, x: jax.Array, labelled: jax.Array | None, update: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the normalised rows, and mean and deviation of the unlabelled ones.

        Args:
          x: (N, ..., C).
          labelled: booleans [N]; None normalises all rows together.
          update: whether to move the running statistics towards those of the unlabelled rows (of
            all rows if none is unlabelled).
        """
        kept = jnp.promote_types(self.param_dtype, jnp.float32)
        zeros, ones = partial(jnp.zeros, dtype=kept), partial(jnp.ones, dtype=kept)
        running_mean = self.variable("batch_stats", "mean", zeros, x.shape[-1:])
        running_var = self.variable("batch_stats", "var", ones, x.shape[-1:])
        if self.use_running_average:
            mean, var = running_mean.value, running_var.value
            return self.standardize(x, mean, var), mean, jnp.sqrt(var + self.epsilon)

        everywhere = jnp.ones(x.shape[:1], bool)
        mean, var = self.moments(x, everywhere if labelled is None else ~labelled)
        z = self.standardize(x, mean, var)
        if labelled is not None:
            own = self.standardize(x, *self.moments(x, labelled))
            z = jnp.where(_per_row(labelled, x), own, z)
        if update and not self.is_initializing():
            for running, new in ((running_mean, mean), (running_var, var)):
                value = self.momentum * running.value + (1 - self.momentum) * new
                running.value = value.astype(kept)
        return z, mean, jnp.sqrt(var + self.epsilon)

    def moments(self, x: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and variance (C,) of rows (booleans [N]), or of all if none is selected."""

        def over_devices(total: jax.Array) -> jax.Array:
            mapped = self.axis_name is not None and not self.is_initializing()
            return jax.lax.psum(total, self.axis_name) if mapped else total

        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        rows = rows | (over_devices(jnp.sum(rows)) == 0)
        pixels = x.size // (x.shape[0] * x.shape[-1])
        count = (over_devices(jnp.sum(rows)) * pixels).astype(x.dtype)

        def mean(values: jax.Array) -> jax.Array:
            chosen = jnp.where(_per_row(rows, x), values, 0)
            return over_devices(jnp.sum(chosen, tuple(range(x.ndim - 1)))) / count

        center = mean(x)
        return center, mean(jnp.square(x - per_channel(center, x)))

    def standardize(self, x: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
        """Returns rows scaled to mean zero and variance one, given their mean and variance."""
        factor = jax.lax.rsqrt(var + self.epsilon)
        return ((x - per_channel(mean, x)) * per_channel(factor, x)).astype(self.dtype)
