"""Dropout that supports images sharded over a mesh with explicit axes."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.ops.sharding import is_explicit


class Dropout(nn.Dropout):
    """Flax's `Dropout` with the same fields, draws and values.

    Under `jax.set_mesh` with explicit axes, Flax draws a replicated mask and cannot apply it to
    sharded inputs. This mask has the sharding of the inputs. (It does not call Flax's method,
    because interceptors and captures would see two calls.)
    """

    @nn.compact
    def __call__(
        self, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Drops values; see `flax.linen.Dropout`."""
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        if self.rate == 0 or deterministic:
            return inputs
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        keep = 1.0 - self.rate
        shape = [
            1 if axis in self.broadcast_dims else size for axis, size in enumerate(inputs.shape)
        ]
        key = self.make_rng(self.rng_collection) if rng is None else rng
        mask = jnp.broadcast_to(jax.random.bernoulli(key, p=keep, shape=shape), inputs.shape)
        if jax.sharding.get_abstract_mesh().explicit_axes and is_explicit(inputs):
            mask = jax.sharding.reshard(mask, jax.typeof(inputs).sharding)
        return jax.lax.select(mask, inputs / keep, jnp.zeros_like(inputs))
