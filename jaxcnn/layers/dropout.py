"""Dropout that also takes images sharded over a mesh with explicit axes."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.ops.sharding import is_explicit


class Dropout(nn.Dropout):
    """Flax's `Dropout`: same fields, draws and values.

    Under `jax.set_mesh` with explicit axes, Flax draws a replicated mask and cannot lay it over
    sharded inputs. Here it is sharded as they are.
    """

    @nn.compact
    def __call__(
        self, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Drops values; see `flax.linen.Dropout`."""
        context = jax.sharding.get_abstract_mesh()
        if not context.explicit_axes or not is_explicit(inputs):
            return super().__call__(inputs, deterministic, rng)
        factors = super().__call__(jnp.ones(inputs.shape, inputs.dtype), deterministic, rng)
        factors = jax.sharding.reshard(factors, jax.typeof(inputs).sharding)
        return jnp.where(factors > 0, inputs * factors, jnp.zeros_like(inputs))
